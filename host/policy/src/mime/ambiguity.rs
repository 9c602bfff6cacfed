//! Where mail readers disagree about a message. What policies see is one plausible reading; that there are others is a fact of its own.

use std::collections::BTreeSet;

/// One disagreement. Its word is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ambiguity {
    /// A line of the header that is no field: some readers skip it, for others the body begins there.
    NotAField,
    /// White space between a field name and its colon: some readers do not see the field.
    SpaceBeforeColon,
    /// NUL in the header: some readers stop there.
    NulInHeader,
    /// A CR without LF, or a LF without CR, in the header: some readers see another line.
    OddLineEnd,
    /// A field that may be there once is there more often (RFC 5322, 3.6; RFC 2045): the first counts for some, the last for others.
    FieldTwice,
    /// A parameter that is there more often.
    ParameterTwice,
    /// A Content-Type that is not `type/subtype`.
    TypeMalformed,
    /// A multipart without a boundary.
    BoundaryMissing,
    /// A boundary that is empty, over 70 octets, or has octets outside of the grammar (RFC 2046, 5.1.1).
    BoundaryMalformed,
    /// A line that begins with a delimiter and goes on.
    BoundaryPrefix,
    /// A multipart whose boundary never occurs.
    BoundaryUnused,
    /// Parts after the end of a multipart: some readers show them.
    DelimiterAfterEnd,
    /// A multipart that does not end.
    MultipartOpen,
    /// Parts of a multipart or a message under a transfer encoding (RFC 2045, 6.4 forbids it): some readers undo it, others do not.
    EncodedComposite,
    /// A transfer encoding that does not exist.
    EncodingUnknown,
    /// Octets that the transfer encoding does not have, or octets after its end.
    EncodingMalformed,
    /// A charset that does not exist, or text that is not in it.
    CharsetMismatch,
    /// A part has more than one name.
    FileNameTwice,
    /// Messages within messages deeper than what is looked at.
    TooDeep,
    /// More parts than what is looked at.
    TooManyParts,
}

/// Disagreements with the part in which they are.
pub(crate) type Ambiguities = BTreeSet<(u32, Ambiguity)>;

impl Ambiguity {
    /// The word that policies see.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotAField => "not-a-field",
            Self::SpaceBeforeColon => "space-before-colon",
            Self::NulInHeader => "nul-in-header",
            Self::OddLineEnd => "odd-line-end",
            Self::FieldTwice => "field-twice",
            Self::ParameterTwice => "parameter-twice",
            Self::TypeMalformed => "type-malformed",
            Self::BoundaryMissing => "boundary-missing",
            Self::BoundaryMalformed => "boundary-malformed",
            Self::BoundaryPrefix => "boundary-prefix",
            Self::BoundaryUnused => "boundary-unused",
            Self::DelimiterAfterEnd => "delimiter-after-end",
            Self::MultipartOpen => "multipart-open",
            Self::EncodedComposite => "encoded-composite",
            Self::EncodingUnknown => "encoding-unknown",
            Self::EncodingMalformed => "encoding-malformed",
            Self::CharsetMismatch => "charset-mismatch",
            Self::FileNameTwice => "file-name-twice",
            Self::TooDeep => "too-deep",
            Self::TooManyParts => "too-many-parts",
        }
    }
}
