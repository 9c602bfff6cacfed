//! From the traits of this crate to the functions of a component.

/// Exports a policy: `secmx_guest::export!(MyPolicy: sender);` or several interfaces, `export!(MyPolicy: setup, receiver, content);`.
///
/// The type must implement the trait of each interface that is named. On other targets than Wasm nothing is exported, so that a
/// policy can be checked and unit-tested like any crate.
#[macro_export]
macro_rules! export {
    ($policy:ident: $($interface:ident),+ $(,)?) => {
        $($crate::__export_interface!($policy $interface);)+
    };
}

/// One interface of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    ($policy:ident setup) => { $crate::__export_interface!($policy Setup, setup, export_setup); };
    ($policy:ident receiver) => { $crate::__export_interface!($policy Receiver, receiver, export_receiver); };
    ($policy:ident content) => { $crate::__export_interface!($policy Content, content, export_content); };
    ($policy:ident sender) => { $crate::__export_interface!($policy Sender, sender, export_sender); };
    ($policy:ident $interface:ident, $world:ident, $export:ident) => {
        const _: () = {
            const fn implements<T: $crate::$interface>() {}
            const _: () = implements::<$policy>();
            #[cfg(target_arch = "wasm32")]
            type Exported = $crate::exported::$interface<$policy>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::$world::$export!(Exported with_types_in $crate::bindings::$world);
        };
    };
}

/// What answers the raw questions on behalf of a policy.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod exported {
    use crate::bindings::{content, receiver, sender, setup};
    use crate::{Address, Destination, Exchanger, Message, Parameter, Ruling, Session};
    use alloc::{string::String, vec::Vec};
    use core::marker::PhantomData;

    pub struct Setup<P>(PhantomData<P>);
    pub struct Receiver<P>(PhantomData<P>);
    pub struct Content<P>(PhantomData<P>);
    pub struct Sender<P>(PhantomData<P>);

    impl<P: crate::Setup> setup::exports::secmx::policy::setup::Guest for Setup<P> {
        fn check() -> Result<(), String> {
            P::check()
        }
    }

    impl<P: crate::Receiver> receiver::exports::secmx::policy::receiver::Guest for Receiver<P> {
        fn greet(session: Session) -> Ruling {
            P::greet(&session)
        }

        fn mail(session: Session, reverse_path: Option<Address>, parameters: Vec<Parameter>) -> Ruling {
            P::mail(&session, reverse_path, &parameters)
        }

        fn recipient(session: Session, reverse_path: Option<Address>, forward_path: Address, parameters: Vec<Parameter>) -> Ruling {
            P::recipient(&session, reverse_path, forward_path, &parameters)
        }
    }

    impl<P: crate::Content> content::exports::secmx::policy::content::Guest for Content<P> {
        fn inspect(session: Session, message: Message) -> Ruling {
            P::inspect(&session, &message)
        }
    }

    impl<P: crate::Sender> sender::exports::secmx::policy::sender::Guest for Sender<P> {
        fn route(destination: Destination) -> Ruling {
            P::route(&destination)
        }

        fn admit(destination: Destination, exchanger: Exchanger) -> Ruling {
            P::admit(&destination, &exchanger)
        }
    }
}
