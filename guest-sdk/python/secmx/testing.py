"""Asks a policy outside the gateway, under unittest, pytest or any other runner: settings, lists and time are yours, and so are the facts."""

import dataclasses
import json
from typing import Any

import secmx


class Gateway:
    """What a policy is offered beside the facts. `log` and `counts` have what it wrote."""

    def __init__(
        self,
        settings: dict[str, Any] | None = None,
        lists: dict[str, set[str]] | None = None,
        now: int = 0,
        store: dict[str, bytes] | None = None,
        dns: dict[str, Any] | None = None,
    ) -> None:
        self._settings, self._lists, self._now = json.dumps(settings or {}), lists or {}, now
        self.store, self.dns = _Store(store or {}), _Dns(dns or {})
        self.written: list[str] = []
        self.counts: dict[str, int] = {}

    def log(self, severity: Any, text: str) -> None:
        self.written.append(f"{severity.name.lower()} {text}")

    def settings(self) -> str:
        return self._settings

    def in_list(self, name: str, value: str) -> bool:
        return value.lower() in self._lists[name]

    def now(self) -> int:
        return self._now

    def count(self, name: str, by: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + by


class _Store:
    """What it holds is in `held`."""

    def __init__(self, held: dict[str, bytes]) -> None:
        self.held = dict(held)

    def get(self, key: str) -> bytes | None:
        return self.held.get(key)

    def set(self, key: str, value: bytes, _ttl: int | None) -> None:
        self.held[key] = value

    def increment(self, key: str, by: int, _ttl: int | None) -> int:
        number = int(self.held.get(key, b"0")) + by
        self.held[key] = str(number).encode()
        return number


class _Dns:
    """As in tests/cases.toml: values by "name KIND", or a word such as "servfail". What is not given is an error."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def query(self, name: str, kind: str) -> Any:
        if f"{name} {kind}" not in self._answers:
            raise KeyError(f'the test does not say what DNS answers: add dns={{"{name} {kind}": "none"}}')
        given = self._answers[f"{name} {kind}"]
        if given in ("none", "bogus", "servfail"):
            raise secmx.NoAnswer(name, kind, "unavailable" if given == "servfail" else given)
        return Lookup([given] if isinstance(given, str) else list(given))


@dataclasses.dataclass
class Lookup:
    """What DNS answers."""

    values: list[str]
    secure: bool = False


class Fake:
    """Stands for a session, a message or a destination: `Fake(domain="health.test")` answers `domain()`. Whatever else is called is
    written down in `calls`, so that a test sees what the policy changed."""

    def __init__(self, **facts: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._facts = facts

    def __getattr__(self, name: str) -> Any:
        def answer(*given: Any) -> Any:
            if name not in self._facts:
                self.calls.append((name, *given))
                return None
            fact = self._facts[name]
            return fact(*given) if callable(fact) else fact

        return answer


def ask(policy: Any, question: str, *facts: Any, gateway: Gateway | None = None) -> secmx.Ruling:
    """Asks one question of a policy module."""
    secmx.connect(gateway or Gateway())
    return secmx.ask(policy, question, *facts)
