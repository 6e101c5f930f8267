//! The embeddable actor system of `ograph-dispatcher`: it watches projections, merges what changes, and tells receivers
//! when there is room.
//!
//! A *projection* is a JSON value that somebody else computes and that can be polled. For every *receiver* the dispatcher
//! knows what it was last told; what differs from the latest value is *pending*. When enough slots are free, a receiver
//! gets one document with everything that is pending, each change merged from what it knew to what is true now. How many
//! steps lay between is noise, and a value that came back is no news at all.
//!
//! # Start
//!
//! ```
//! # actix_rt::System::new().block_on(async {
//! use std::{sync::Arc, time::Duration};
//! use ograph_dispatcher_actors::{Dispatcher, model::availability::Free, receivers::DispatchFile};
//! use ograph_dispatcher_actors::{clock::SystemClock, http::HttpClient, http_json::{HttpJsonOptions, HttpJsonSource}};
//!
//! let place = HttpJsonOptions::new("http://localhost:8080/api/{name}".parse()?);
//! let news = std::env::temp_dir().join(format!("news-{}.json", std::process::id()));
//! let dispatcher = Dispatcher::builder()
//!     .watch("tasks?agent=7".parse()?)
//!     .source(move || HttpJsonSource::new(HttpClient::default(), Arc::<SystemClock>::default(), place.clone()))
//!     .availability(|| Free::Slots(2))
//!     .receiver(move || DispatchFile::new(&news, 0o600))
//!     .start()?;
//! println!("{:?}", dispatcher.flush().await?);
//! dispatcher.shutdown(Duration::from_secs(10)).await;
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! [`start`](Builder::start) runs on the arbiter of this thread, inside of any actix system.
//! [`start_on_own_arbiter`](Builder::start_on_own_arbiter) makes a thread of its own, for hosts on tokio, without any
//! runtime, or with better things to do on theirs. Either way there is a [`Handle`], which works from every thread and
//! under every executor. The `examples` folder has an actix-web application, a source, an availability and a receiver
//! of one's own, and several dispatchers in one process.
//!
//! # Layout
//!
//! | Where | What |
//! |---|---|
//! | [`Dispatcher`], [`Builder`], [`Setup`], [`settings`] | putting it together |
//! | [`Handle`], [`Ended`], [`status`], [`events`] | talking to it, and seeing what it does |
//! | [`messages`] | the same as actix messages |
//! | [`source`] | the trait [`Source`](source::Source): where projections come from; [`ograph`] and [`http_json`] are two |
//! | [`availability`] | the trait [`Availability`](availability::Availability): whether there is room; [`openclaw`] is one, a fixed [`Free`](model::availability::Free) another |
//! | [`receivers`] | the trait [`Receiver`](receivers::Receiver): who is told; webhook, command, dispatch file and more |
//! | [`store`] | the trait [`Store`](store::Store): what survives; on disk or in memory |
//! | [`clock`], [`http`], [`secret`] | what these are made of |
//! | [`model`] | the pure part: keys, values, changes, documents; no I/O and no actor |
//! | [`supervision`] | panics and restarts |
//!
//! ```text
//!            source                                    availability
//!               │                                            │
//!        ┌──────▼──────┐  ProjectionChanged           ┌──────▼────────┐  documents
//!        │   watcher   ├─────────┐          ┌─────────►   scheduler   ├───────────► receivers
//!        └──────▲──────┘  ┌──────▼──────────┴─┐       └──────▲────────┘
//!               └─────────┤    supervisor     ├──────────────┘
//!   Handle, messages ────►│ routes, restarts  ├───────►  pending  (merge maps, store)
//!                         └───────────────────┘
//! ```
//!
//! # Guarantees
//!
//! 1. After the dust settles, every receiver was last told the latest value of every projection, through any mix of
//!    crashes, panics, restarts and failures. Delivery is at least once; a repeated document has the same batch id and
//!    content.
//! 2. Nothing is pushed while the availability is unknown or below the minimum, or in a receiver's cooldown, also across
//!    restarts; but for a flush, which somebody asked for.
//! 3. A failed, partial or unreadable answer is never a change, and an outage never looks like a removal.
//! 4. No projection, receiver or slow listener delays another, and nothing grows without bound.
//! 5. What is acknowledged is durable, if the store is.
//!
//! Towards its host: the library reads no environment and no file but those it is given, handles no signals, prints
//! nothing, installs no logger (it logs through [`log`]), does not panic on input, and never stops the host's
//! `System`. It adds one thing to the process, at the first start: a panic hook in front of the present one, which
//! remembers where a panic that the dispatcher catches happened and passes all others on.
//!
//! # Ending
//!
//! - [`Handle::shutdown`] ends it within its deadline, whatever hangs.
//! - *Dropping the last handle does not*: the dispatcher runs on, detached, as a spawned task does.
//! - When the host stops its system, or the arbiter on which the dispatcher was started, the dispatcher ends with it; on
//!   an arbiter of its own it goes on.
//! - [`Handle::ended`] says when it has ended, and how; so do the streams of events, by ending.
//!
//! # Supervision
//!
//! | What panics | What happens | Who notices |
//! |---|---|---|
//! | an actor: a handler, a timer, a future, its start | restarted in place after a growing delay; mailbox and address are kept, what it knew comes from the store | [`Status`](status::Status), [`Event::Restarted`](events::Event::Restarted), the log |
//! | the supervisor | the same; its children go on meanwhile | the same |
//! | a source, an availability or a receiver, while it works | nobody is restarted: it counts as a failed poll, or as a delivery of unknown outcome | the same as for any failure |
//! | the closure that makes one | its actor, as above | as above |
//! | an actor, more often than the [`RestartPolicy`](supervision::RestartPolicy) allows | escalation: the actor is given up, the others stay as they are | [`Handle::ended`] is [`Ended::Escalated`]; the host decides, and shuts down what is left |
//!
//! The default policy is that of OTP: one for one, 5 restarts in 30 s, after 10 ms, 20 ms, 40 ms, …
//!
//! # Messages
//!
//! Everything that a [`Handle`] does is also a message to the [`SupervisorActor`]'s address
//! ([`Handle::supervisor`]).
//!
//! | Message | Answer | Handle |
//! |---|---|---|
//! | [`Flush`](messages::Flush) | [`FlushReport`](messages::FlushReport) | [`flush`](Handle::flush), [`flush_when_available`](Handle::flush_when_available) |
//! | [`PollNow`](messages::PollNow) | when all that was found is durable | [`poll`](Handle::poll) |
//! | [`Pause`](messages::Pause), [`Resume`](messages::Resume) | when it is durable | [`pause`](Handle::pause), [`resume`](Handle::resume) |
//! | [`Reload`](messages::Reload) | when the setup is accepted | [`reload`](Handle::reload) |
//! | [`Ping`](messages::Ping) | when every actor has answered | [`ping`](Handle::ping) |
//! | [`GetStatus`](messages::GetStatus) | [`Status`](status::Status) | [`status`](Handle::status) |
//! | [`GetPending`](messages::GetPending) | [`PendingReceiver`](status::PendingReceiver)s | [`pending`](Handle::pending) |
//! | [`Subscribe`](messages::Subscribe) | then [`EventMessage`](messages::EventMessage)s | [`subscribe_actor`](Handle::subscribe_actor), [`subscribe`](Handle::subscribe) as a stream |
//! | [`Shutdown`](messages::Shutdown) | when all is still | [`shutdown`](Handle::shutdown) |
//! | [`ProjectionChanged`](messages::ProjectionChanged) | when it is durable | none: it is how the watcher, or a push of yours, reports a value |
//!
//! # Upgrading
//!
//! Until 1.0 a minor version may change the interface; the changelog says what to do. Enums that may grow are
//! `#[non_exhaustive]`. The store's format has a version of its own ([`store::FORMAT_VERSION`]): a newer program reads
//! what an older one wrote, and an older one refuses what it does not know instead of damaging it. The dispatch document
//! says its version ([`Document::VERSION`](model::document::Document::VERSION)); new members may be added to it without a
//! new one.

#![deny(missing_docs)]

pub mod availability;
pub mod clock;
mod dispatcher;
pub mod events;
mod failpoint;
mod handle;
pub mod http;
pub mod http_json;
mod json_poll;
pub mod messages;
pub mod model;
pub mod ograph;
pub mod openclaw;
mod pending;
pub mod receivers;
mod scheduler;
pub mod secret;
pub mod settings;
mod setup;
mod shared;
pub mod source;
pub mod status;
pub mod store;
pub mod supervision;
mod supervisor;
pub mod totals;
mod watcher;

pub use dispatcher::{Builder, Dispatcher, StartError};
pub use handle::{Ended, Handle};
pub use settings::Settings;
pub use setup::{AvailabilityFactory, ReceiverFactory, Setup, SetupError, SourceFactory};
pub use supervisor::SupervisorActor;

/// The server of faults that the end-to-end tests use, too.
#[cfg(test)]
#[path = "../../tests/support/fault_server.rs"]
mod fault_server;

/// The certificates that the end-to-end tests use, too.
#[cfg(test)]
#[path = "../../tests/support/certificates.rs"]
mod certificates;

/// A gateway of OpenClaw that misbehaves on demand.
#[cfg(test)]
#[path = "../../tests/support/gateway_server.rs"]
mod gateway_server;
