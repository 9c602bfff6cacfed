"""The types of the interface for where there is no gateway: a test, a type checker. In a component the generated ones stand here."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Optional, Tuple, Union

SenderRole = Enum("SenderRole", ["BEST_EFFORT", "SECURE_ONLY"], start=0)
ReceiverRole = Enum("ReceiverRole", ["BEST_EFFORT", "SECURE_ONLY"], start=0)
Level = Enum("Level", ["PLAIN", "ENCRYPTED", "HOST", "DOMAIN"], start=0)
TlsVersion = Enum("TlsVersion", ["TLS1_2", "TLS1_3"], start=0)
ClientCertificate = Enum("ClientCertificate", ["IGNORE", "REQUEST", "DEMAND"], start=0)
Severity = Enum("Severity", ["DEBUG", "INFO", "WARN"], start=0)
Answer = Enum("Answer", ["FOUND", "NONE", "DENIED", "UNKNOWN", "BOGUS"], start=0)
Source = Enum("Source", ["SECMX_SRV", "SMTP_TLS_SRV", "MX", "ADDRESS_RECORD", "CONFIGURED"], start=0)
Opacity = Enum("Opacity", ["CLEAR", "SMIME_ENVELOPED", "OPENPGP", "ENCRYPTED_ARCHIVE", "ENCRYPTED_DOCUMENT", "UNREADABLE"], start=0)
Session = Message = Destination = Any


@dataclass
class Address:
    local_part: str
    domain: str


@dataclass
class Parameter:
    keyword: str
    value: Optional[str]


@dataclass
class Reason:
    code: str
    text: str


@dataclass
class Reply:
    code: int
    enhanced: Tuple[int, int, int]
    text: str


@dataclass
class Ruling_Pass:
    pass


@dataclass
class Ruling_Accept:
    value: Reason


@dataclass
class Ruling_Reject:
    value: Tuple[Reply, Reason]


@dataclass
class Ruling_Defer:
    value: Tuple[Reply, Reason]


@dataclass
class Ruling_Quarantine:
    value: Reason


@dataclass
class Ruling_Discard:
    value: Reason


Ruling = Union[Ruling_Pass, Ruling_Accept, Ruling_Reject, Ruling_Defer, Ruling_Quarantine, Ruling_Discard]


@dataclass
class Channel:
    level: Level
    version: TlsVersion
    cipher: str
    group: str
    server_name: Optional[str]


@dataclass
class Certificate:
    subject: str
    issuer: str
    dns_names: list[str]
    sha256: bytes
    not_after: int


@dataclass
class Field:
    name: str
    value: bytes


@dataclass
class Recipient:
    address: Address
    parameters: list[Parameter]


@dataclass
class Part:
    index: int
    parent: Optional[int]
    content_type: str
    charset: Optional[str]
    file_name: Optional[str]
    attachment: bool
    decoded_octets: int
    opacity: Opacity


@dataclass
class Exchanger:
    index: int
    name: str
    port: int
    source: Source
    preference: int
    dnssec_secure: bool
    expected: Level


@dataclass
class Exhausted_Defer:
    pass


@dataclass
class Exhausted_Bounce:
    value: Reason
