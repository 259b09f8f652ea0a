"""An engine's double that plays a script: the OpenAI wire, its pauses and its faults, without a model."""

from mulgil.engines.scripted.record import Record
from mulgil.engines.scripted.script import Answer, Fault, Script, load_script
from mulgil.engines.scripted.server import ScriptedEngine, ScriptedServer, serve_scripted, start_scripted

__all__ = [
    "Answer",
    "Fault",
    "Record",
    "Script",
    "ScriptedEngine",
    "ScriptedServer",
    "load_script",
    "serve_scripted",
    "start_scripted",
]
