//! Bindings that wasmtime makes from the folder `wit`.
//!
//! One world holds every interface; which of the exports a component has is looked up for each alone, because a policy may export any
//! subset. Host functions may end a call with an error, which is a policy fault.
#![allow(unreachable_pub)] // generated code

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "secmx:policy/policy",
    imports: {
        "secmx:policy/dns.query": async | trappable,
        "secmx:policy/session.[method]session.authentication-result": async | trappable,
        "secmx:policy/message.[method]message.fields": async | trappable,
        "secmx:policy/message.[method]message.text": async | trappable,
        "secmx:policy/message.[method]message.parts": async | trappable,
        "secmx:policy/message.[method]message.ambiguities": async | trappable,
        "secmx:policy/message.[method]message.file-names": async | trappable,
        "secmx:policy/message.[method]message.read-part": async | trappable,
        "secmx:policy/message.[method]message.part-text": async | trappable,
        "secmx:policy/message.[method]message.shortfall": async | trappable,
        "secmx:policy/message.[method]message.opened": async | trappable,
        "secmx:policy/message.[method]message.digest": async | trappable,
        "secmx:policy/message.[method]message.find": async | trappable,
        "secmx:policy/message.[method]message.add-evidence": async | trappable,
        "secmx:policy/message.[method]message.remove-field": async | trappable,
        "secmx:policy/message.[method]message.replace-part": async | trappable,
        "secmx:policy/message.[method]message.remove-part": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "secmx:policy/session.session": crate::bindings::mark::Session,
        "secmx:policy/message.message": crate::bindings::mark::Message,
        "secmx:policy/destination.destination": crate::bindings::mark::Destination,
    },
});

/// What stands for a resource: a question is about at most one of each, so that there is nothing to tell apart.
pub mod mark {
    /// The session in question.
    pub struct Session;
    /// The message in question.
    pub struct Message;
    /// The destination in question.
    pub struct Destination;
}
