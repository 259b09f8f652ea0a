from harness import *
def test_try(gateway):
    import time
    t=time.time()
    call=gateway.get("free-text", message=ON_TOPIC)
    print(call.status, call.headers)
    ev=call.events()
    for e in ev: print(e.raw.decode(), end="")
    print(pieces(ev)==rendered(ev[-1]), time.time()-t)
    print(gateway.post("base-info", **PLACE).body().decode())
