//! Bindings that `wit-bindgen` makes from the folder `wit`: the imports once, then one world for each interface that can be exported, so
//! that a component exports exactly what it was asked for. Policies use the re-exports at the root of this crate instead.
#![allow(missing_docs)] // the WIT files carry the documentation

#[doc(hidden)]
pub use wit_bindgen;

/// What the gateway offers.
pub mod imports {
    wit_bindgen::generate!({ path: "../../wit", world: "imports", additional_derives: [PartialEq] });
}

/// What the gateway offers by grant.
pub mod powers {
    wit_bindgen::generate!({ path: "../../wit", world: "powers", additional_derives: [PartialEq] });
}

/// One world that exports one interface and shares the types of [`imports`].
macro_rules! exporting {
    ($module:ident, $world:literal, $export:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                runtime_path: "::secmx_guest::bindings::wit_bindgen::rt",
                with: {
                    "secmx:policy/types@0.1.0": super::imports::secmx::policy::types,
                    "secmx:policy/session@0.1.0": super::imports::secmx::policy::session,
                    "secmx:policy/message@0.1.0": super::imports::secmx::policy::message,
                    "secmx:policy/destination@0.1.0": super::imports::secmx::policy::destination,
                    "secmx:policy/host@0.1.0": super::imports::secmx::policy::host,
                },
            });
        }
    };
}

exporting!(setup, "setup-policy", "export_setup");
exporting!(receiver, "receiver-policy", "export_receiver");
exporting!(content, "content-policy", "export_content");
exporting!(sender, "sender-policy", "export_sender");
