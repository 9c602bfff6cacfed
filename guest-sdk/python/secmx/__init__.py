"""What a policy in Python stands on: rulings in one line, typed settings, the log.

A policy defines a function for each question it means to answer: check, greet, mail, recipient, inspect, route, admit. What it does not
define passes, and so does a question it answers with None.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
import traceback
import types as _types
import typing
from typing import Any, Callable, TypeVar

try:  # In a component the interface is there; beside it, in a test, what is written down in `plain` stands in.
    from wit_world.imports import destination as _destination
    from wit_world.imports import host as _host
    from wit_world.imports import message as _message
    from wit_world.imports import session as _session
    from wit_world.imports import types as _wit
except ImportError:
    from secmx import plain as _wit

    _destination = _message = _session = _host = _wit

try:  # Where policy.toml declares them.
    from wit_world.imports import store as _store
except ImportError:
    _store = None
try:
    from wit_world.imports import dns as _dns
except ImportError:
    _dns = None

Address, Parameter, Reason, Reply, Ruling = _wit.Address, _wit.Parameter, _wit.Reason, _wit.Reply, _wit.Ruling
Level, SenderRole, ReceiverRole, TlsVersion = _wit.Level, _wit.SenderRole, _wit.ReceiverRole, _wit.TlsVersion
Session, Channel, Certificate, ClientCertificate = _session.Session, _session.Channel, _session.Certificate, _session.ClientCertificate
Message, Part, Field, Recipient, Opacity = _message.Message, _message.Part, _message.Field, _message.Recipient, _message.Opacity
Destination, Exchanger, Answer, Source = _destination.Destination, _destination.Exchanger, _destination.Answer, _destination.Source
Defer, Bounce = _destination.Exhausted_Defer, _destination.Exhausted_Bounce

_gateway: Any = _host
_known: dict[type, Any] = {}
_Settings = TypeVar("_Settings")


def connect(gateway: Any) -> None:
    """Puts something else in the place of the gateway, for a test."""
    global _gateway
    _gateway = gateway
    _known.clear()


def passing() -> Ruling:
    """No opinion: the next policy is asked. Returning nothing means the same."""
    return _wit.Ruling_Pass()


def accept(code: str, text: str) -> Ruling:
    """Yes, and no later policy of this interface is asked."""
    return _wit.Ruling_Accept(Reason(code, text))


def reject(number: int, enhanced: str, text: str, code: str) -> Ruling:
    """A 5yz reply: `reject(550, "5.7.1", "not here", "rule.name")`. The text goes to the client."""
    return _wit.Ruling_Reject((_reply(number, enhanced, text), Reason(code, text)))


def defer(number: int, enhanced: str, text: str, code: str) -> Ruling:
    """A 4yz reply. The text goes to the client."""
    return _wit.Ruling_Defer((_reply(number, enhanced, text), Reason(code, text)))


def quarantine(code: str, text: str) -> Ruling:
    """Taken, kept for a person, not delivered."""
    return _wit.Ruling_Quarantine(Reason(code, text))


def discard(code: str, text: str) -> Ruling:
    """Taken and dropped; always logged."""
    return _wit.Ruling_Discard(Reason(code, text))


def _reply(number: int, enhanced: str, text: str) -> Reply:
    kind, subject, detail = (int(digits) for digits in enhanced.split("."))
    return Reply(number, (kind, subject, detail), text)


def debug(text: str) -> None:
    """A line in the log for developers."""
    _gateway.log(_host.Severity.DEBUG, text)


def info(text: str) -> None:
    """A line in the log."""
    _gateway.log(_host.Severity.INFO, text)


def warn(text: str) -> None:
    """A line in the log that an operator should see."""
    _gateway.log(_host.Severity.WARN, text)


def in_list(name: str, value: str) -> bool:
    """Whether a list that the configuration names has this member."""
    return _gateway.in_list(name, value)


def now() -> datetime.datetime:
    """The time, the same during one question. Nothing else in a policy knows it."""
    return datetime.datetime.fromtimestamp(_gateway.now(), datetime.timezone.utc)


def count(name: str, by: int = 1) -> None:
    """Adds to a counter in the metrics, labelled with the policy."""
    _gateway.count(name, by)


def _power(name: str, of_component: Any, example: str) -> Any:
    power = getattr(_gateway, name, None) if _gateway is not _host else of_component
    if power is None:
        raise RuntimeError(f"the policy uses `{name}`, which [capabilities] of policy.toml does not declare: add {example}")
    return power


class Store:
    """A small memory of the policy, the same for all messages and after a restart: `store = "1MiB"` in [capabilities] of policy.toml.
    What has a `ttl` is forgotten after so many seconds. What does not fit raises a ValueError."""

    def _of(self) -> Any:
        return _power("store", _store, 'store = "1MiB"')

    def get(self, key: str) -> bytes | None:
        return self._of().get(key)

    def set(self, key: str, value: bytes | str, ttl: int | None = None) -> None:
        self._done(lambda: self._of().set(key, value.encode() if isinstance(value, str) else value, ttl))

    def increment(self, key: str, by: int = 1, ttl: int | None = None) -> int:
        return self._done(lambda: self._of().increment(key, by, ttl))

    def _done(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise (ValueError(error.value) if isinstance(getattr(error, "value", None), str) else error) from None


store = Store()


class NoAnswer(Exception):
    """Why DNS gave nothing: `why` is "none", "unavailable" or "bogus". Unavailable is never none."""

    def __init__(self, name: str, kind: str, why: str) -> None:
        super().__init__(f"{name} {kind}: {why}")
        self.why = why


def look_up(name: str, kind: str) -> Any:
    """Looks up in DNS through the gateway: `dns = ["TXT"]` in [capabilities] of policy.toml. Gives `values` and `secure`; raises NoAnswer,
    which defers unless it is caught."""
    try:
        return _power("dns", _dns, 'dns = ["TXT"]').query(name, kind)
    except Exception as error:
        said = type(getattr(error, "value", None)).__name__.lower().rstrip("_")
        why = next((word for word in ("unavailable", "bogus", "none") if said == f"failure_{word}"), None)
        raise (NoAnswer(name, kind, why) if why else error) from None


def octets(text: str) -> int:
    """How many octets a string has in UTF-8, which is what offsets count."""
    return len(text.encode())


def settings(shape: type[_Settings]) -> _Settings:
    """This policy's settings as a dataclass: fields without a default must be given, types are checked, strange names are refused."""
    if shape not in _known:
        _known[shape] = _typed(shape, json.loads(_gateway.settings()))
    return _known[shape]


def _typed(shape: Any, given: dict[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(shape)}
    for name in given:
        if name not in fields:
            raise ValueError(f"there is no setting `{name}`, only {', '.join(fields)}")
    hints = typing.get_type_hints(shape)
    for name, field in fields.items():
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if missing and name not in given:
            raise ValueError(f"`{name}` is missing; it is a {_word(hints[name])}")
        if name in given and not _fits(hints[name], given[name]):
            raise ValueError(f"`{name}` must be a {_word(hints[name])}, not {json.dumps(given[name])}")
    return shape(**given)


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, _types.UnionType):
        return any(_fits(argument, value) for argument in arguments)
    if origin is list:
        return isinstance(value, list) and all(_fits(arguments[0], one) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(arguments[1], one) for one in value.values())
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, bool) if hint is bool else isinstance(value, hint) and not isinstance(value, bool)


def _word(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def check(policy: Any) -> None:
    """Asks `check`; what it raises is what the administrator reads. Called by the build."""
    try:
        policy.check()
    except Exception as error:
        if not isinstance(error, ValueError):
            _tell(error, policy.check)
        from componentize_py_types import Err

        raise Err(str(error) or type(error).__name__) from None


def ask(policy: Any, question: str, *facts: Any) -> Ruling:
    """Asks a question, and says in the log what went wrong and where. Called by the build."""
    answer: Callable[..., Any] | None = getattr(policy, question, None)
    if answer is None:
        return passing()
    try:
        ruling = answer(*facts)
        if ruling is None:
            return passing()
        if not isinstance(ruling, typing.get_args(Ruling)):
            raise TypeError(f'{question} must return a ruling, such as quarantine("code", "text"), or None. It returned {ruling!r}')
        return ruling
    except Exception as error:
        _tell(error, answer)
        raise


def _tell(error: BaseException, answer: Any) -> None:
    """Says in the log what was raised, and where in the author's own files: where the question is answered, when no frame is the author's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.endswith("secmx/__init__.py")]
    told = ["".join(traceback.format_exception_only(error)).strip()]
    for frame in reversed(frames):
        told.append(f"at {frame.name} ({_base(frame.filename)}:{frame.lineno}): {frame.line or ''}".rstrip(" :"))
    if not frames and (code := getattr(answer, "__code__", None)):
        told.append(f"at {code.co_name} ({_base(code.co_filename)}:{code.co_firstlineno})")
    warn("\n".join(told))


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def require(policy: Any, interface: str, questions: list[str]) -> None:
    """Refuses, while it is built, a policy that answers nothing of an interface it names. Called by the build."""
    if not any(callable(getattr(policy, question, None)) for question in questions):
        sys.exit(f"policy.toml says `{interface}`, so the policy must define {' or '.join(questions)}")
