"""A policy that keeps things and asks DNS, asked without a gateway."""

import secmx
from secmx.testing import Gateway, ask


class policy:
    @staticmethod
    def inspect(session, message):
        number = secmx.store.increment("seen", 2)
        secmx.store.set("word", "kept", ttl=60)
        try:
            secmx.look_up("down.test", "TXT")
        except secmx.NoAnswer as error:
            return secmx.quarantine("told", f"{number} {secmx.store.get('word').decode()} {error.why} {secmx.look_up('known.test', 'TXT').values}")


gateway = Gateway(dns={"down.test TXT": "servfail", "known.test TXT": ["one"]}, store={"seen": b"3"})
ruling = ask(policy, "inspect", None, None, gateway=gateway)
assert ruling.value.text == "5 kept unavailable ['one']", ruling
assert gateway.store.held == {"seen": b"5", "word": b"kept"}, gateway.store.held
