//! A source of one's own: a folder in which every projection is a JSON file.

use std::{error::Error, io, path::PathBuf, time::Duration};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use ograph_dispatcher_actors::{
    Dispatcher,
    model::{
        key::Projection,
        value::{self, body_hash},
    },
    source::{Observation, Source, SourceError, SourceErrorKind, Validators},
};

mod common;

/// Reads `<folder>/<name>.json`.
struct Folder(PathBuf);

impl Folder {
    fn read(file: PathBuf, known: &Validators) -> Result<Observation, SourceError> {
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            // The file is not there, and nothing else went wrong: the projection has no value.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Observation::Absent),
            Err(error) => {
                let message = format!("{}: {error}", file.display());
                return Err(SourceError::new(SourceErrorKind::Transport, message));
            }
        };
        let body_hash = Some(body_hash(&bytes));
        if known.body_hash == body_hash {
            return Ok(Observation::Unchanged);
        }
        // Half a file, while somebody writes it, is an error and never a value.
        match value::parse(&bytes) {
            Ok(value) => Ok(Observation::Present { value, validators: Validators { etag: None, body_hash } }),
            Err(error) => Err(SourceError::new(SourceErrorKind::NotJson, format!("{}: {error}", file.display()))),
        }
    }
}

impl Source for Folder {
    fn observe<'a>(
        &'a self,
        projection: &'a Projection,
        known: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        async move {
            if projection.name.contains(['/', '\\']) {
                return Err(SourceError::new(SourceErrorKind::Internal, "a projection here is a file of the folder"));
            }
            let file = self.0.join(format!("{}.json", projection.name));
            let known = known.clone();
            // Files block, and a source must not block its thread.
            let read = actix_rt::task::spawn_blocking(move || Self::read(file, &known)).await;
            read.unwrap_or_else(|_| Err(SourceError::new(SourceErrorKind::Internal, "reading was broken off")))
        }
        .boxed_local()
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let stock = folder.path().join("stock.json");
    std::fs::write(&stock, r#"{"apples": 3}"#)?;

    let path = folder.path().to_owned();
    let inbox = common::Inbox::default();
    let dispatcher = Dispatcher::builder()
        .watch("stock".parse()?)
        .source(move || Folder(path.clone()))
        .availability(common::always_free)
        .receiver(inbox.receiver("shop"))
        .start()?;
    dispatcher.poll().await?;

    std::fs::write(&stock, r#"{"apples": 2, "pears": 1}"#)?;
    dispatcher.flush().await?;
    assert_eq!(inbox.documents(), 1);

    std::fs::write(&stock, r#"{"apples": "#)?;
    dispatcher.poll().await?;
    for (projection, trouble) in &dispatcher.status().watcher.failing {
        println!("{projection} cannot be read now ({})", trouble.error);
    }
    dispatcher.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
