"""The domain's folder is read strictly; its choices are matched kindly."""

import inspect
import shutil
import unicodedata
from pathlib import Path

import pytest

from mulgil import errors
from mulgil.domain.load import load_domain, match_category, match_option, required_messages
from mulgil.errors import FieldError, MulgilError, SetupError

# These classes only hold others together; nothing raises them.
ABSTRACT = {errors.MulgilError, errors.Refused, errors.InvalidInput, errors.FieldError}
FIELDS = ("location", "workType", "category")
# Which inputs have a rule that the class is raised for.
INPUTS = {
    errors.FieldMissing: (*FIELDS, "message"),
    errors.TooLong: (*FIELDS, "message", "sessionId"),
    errors.NotText: (*FIELDS, "sessionId"),
}


def classes(root: type[MulgilError]) -> set[type[MulgilError]]:
    known = {each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, root)}
    return known - ABSTRACT


@pytest.fixture
def folder(tmp_path: Path, domain) -> Path:
    copy = tmp_path / "eco_ko"
    copy.mkdir()
    shutil.copy(domain.folder / "domain.toml", copy)
    return copy


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "domain.toml"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) >= 1, old
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(SetupError) as caught:
        load_domain(folder)
    return str(caught.value)


def test_the_bundled_domain_says_what_the_contract_says(domain):
    assert domain.count == 3
    assert domain.default_category == "ZERO_WASTE"
    assert [(each.code, each.label) for each in domain.categories.values()] == [
        ("ZERO_WASTE", "제로웨이스트"),
        ("PLOGGING", "플로깅"),
        ("CARBON_FOOTPRINT", "탄소발자국"),
        ("ENERGY_SAVING", "에너지 절약"),
        ("UPCYCLING", "업사이클"),
        ("MEDIA", "문화 공유"),
        ("DIGITAL_CARBON", "디지털 탄소"),
        ("VEGAN", "비건"),
    ]
    assert [(each.name, each.options) for each in domain.fields] == [
        ("location", ("도시", "바닷가", "산", "농촌")),
        ("workType", ("사무직", "현장직", "영업직", "재택근무")),
    ]


def test_every_error_that_can_be_raised_has_its_sentence(domain):
    plain = {each.code for each in classes(MulgilError) if not issubclass(each, FieldError)}
    fields = {each(name).message_key for each in classes(FieldError) for name in INPUTS[each]}
    assert plain | fields <= required_messages(FIELDS)
    assert required_messages(FIELDS) == domain.messages.keys()


def test_all_rules_of_the_error_tree_about_fields_are_known_here():
    assert INPUTS.keys() == classes(FieldError)


@pytest.mark.parametrize("name", ["a", "b.c"])
def test_prompts_are_named_by_their_files(folder, name):
    (folder / "prompts").mkdir()
    (folder / "prompts" / f"{name}.txt").write_text("너는 도우미야.\n", encoding="utf-8")
    assert load_domain(folder).prompts == {name: "너는 도우미야."}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "eco_ko"', 'name = "eco_ko"\ncolour = "green"', ["colour is not known", "default_category"]),
        ('language = "ko"\n', "", ["language is missing"]),
        ("count = 3", 'count = "3"', ["count must be a whole number from 1"]),
        ("count = 3", "count = true", ["count must be a whole number from 1"]),
        ("count = 3", "count = 0", ["count must be a whole number from 1"]),
        ('default_category = "ZERO_WASTE"', 'default_category = "ZERO"', ["default_category is ZERO", "VEGAN"]),
        ('code = "PLOGGING"', 'code = "ZERO_WASTE"', ["categories[1]", "ZERO_WASTE"]),
        ('aliases = ["plogging"]', 'aliases = ["Ze ro"]', ["categories[1].aliases", "zero", "ZERO_WASTE"]),
        ('aliases = ["plogging"]', 'aliases = "plogging"', ["categories[1].aliases must be a list of texts"]),
        ('help = "쓰레기를 줄이기 위한 실천"', 'help = " "', ["categories[0].help must be a text"]),
        ('name = "workType"', 'name = "location"', ["fields name location twice"]),
        ('name = "workType"', 'name = "category"', ["fields name category twice"]),
        ('"재택" = "재택근무"', '"재택" = "집"', ["fields[1].aliases.재택 is 집", "사무직"]),
        ('"산" = ["산", "산간"', '"산골" = ["산", "산간"', ["fields[0].words.산 is missing"]),
        ('any_words = ["아무"]', "any_words = [1]", ["rules.any_words must be a list of texts"]),
        ('any_words = ["아무"]', 'any_words = ["아무"]\nall_words = []', ["rules.all_words is not known"]),
        ('gone = "', 'went = "', ["messages.gone is missing"]),
        ('"too_long.workType" = "', '"too_long.work" = "', ["messages.too_long.workType is missing"]),
        ('piece = "', 'slice = "x"\npiece = "', ["messages.slice is not known"]),
        ("[rules]", "[rulez]", ["rules is missing"]),
        ('letters = "가-힣"', 'letters = "힣-가"', ["answer.letters must be a piece of a regular expression"]),
        ("title = [", "title = [9, 3] #", ["answer.title must be two whole numbers"]),
        ("count = 3", "count = ", ["is no TOML"]),
    ],
)
def test_a_mistake_is_told_with_file_key_and_what_is_allowed(folder, old, new, said):
    change(folder, old, new)
    message = refusal(folder)
    assert message.startswith(str(folder / "domain.toml"))
    assert [each for each in said if each not in message] == []


def test_a_folder_without_a_domain_is_told(tmp_path):
    assert "a domain is a folder with a domain.toml" in refusal(tmp_path)


def test_a_prompt_that_is_no_utf_8_is_told(folder):
    (folder / "prompts").mkdir()
    (folder / "prompts" / "system.txt").write_bytes(b"\xff\xfe")
    assert "prompts: a prompt can't be read as UTF-8" in refusal(folder)


def test_a_file_that_an_editor_saved_as_nfd_gives_the_same_lists(folder, domain):
    file = folder / "domain.toml"
    file.write_text(unicodedata.normalize("NFD", file.read_text(encoding="utf-8")), encoding="utf-8")
    loaded = load_domain(folder)
    assert loaded.rules == domain.rules
    assert loaded.categories == domain.categories
    assert [field.words for field in loaded.fields] == [field.words for field in domain.fields]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("제로웨이스트", "ZERO_WASTE"),
        ("제로 웨이스트", "ZERO_WASTE"),
        ("ZERO_WASTE", "ZERO_WASTE"),
        ("Zero", "ZERO_WASTE"),
        ("플로깅", "PLOGGING"),
        ("탄소 발자국", "CARBON_FOOTPRINT"),
        ("carbon", "CARBON_FOOTPRINT"),
        ("에너지절약", "ENERGY_SAVING"),
        (unicodedata.normalize("NFD", "에너지 절약"), "ENERGY_SAVING"),
        ("업사이클링", "UPCYCLING"),
        ("upcycle", "UPCYCLING"),
        ("SecondHand", "UPCYCLING"),
        ("문화공유", "MEDIA"),
        ("media", "MEDIA"),
        ("digital", "DIGITAL_CARBON"),
        ("디지털 탄소", "DIGITAL_CARBON"),
        (" vegan ", "VEGAN"),
    ],
)
def test_a_category_is_known_by_label_code_and_alias(domain, text, code):
    category = match_category(domain, text)
    assert category is not None
    assert category.code == code


@pytest.mark.parametrize("text", ["", "  ", "제로", "zero waste please", "비건식", "VEGAN,MEDIA"])
def test_anything_else_is_no_category(domain, text):
    assert match_category(domain, text) is None


@pytest.mark.parametrize(
    ("field", "text", "option"),
    [
        (0, "해안가", "바닷가"),
        (0, "해안", "바닷가"),
        (0, "바다", "바닷가"),
        (0, "산간", "산"),
        (0, " 도 시", "도시"),
        (0, "반지하", "반지하"),
        (1, "재택", "재택근무"),
        (1, unicodedata.normalize("NFD", "사무직"), "사무직"),
        (1, "교대 근무", "교대 근무"),
    ],
)
def test_an_option_is_known_by_its_aliases_and_all_else_is_free_text(domain, field, text, option):
    assert match_option(domain.fields[field], text) == option
