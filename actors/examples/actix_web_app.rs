//! A web application that runs the dispatcher inside itself: `GET /status`, `POST /flush`.
//!
//! It listens on a free port of the loopback, asks itself once, and ends.

use std::{error::Error, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, web};
use ograph_dispatcher_actors::{Dispatcher, Handle};

mod common;

async fn status(dispatcher: web::Data<Handle>) -> HttpResponse {
    HttpResponse::Ok().json(dispatcher.status())
}

async fn flush(dispatcher: web::Data<Handle>) -> HttpResponse {
    match dispatcher.flush().await {
        Ok(report) => HttpResponse::Ok().json(report),
        Err(error) => HttpResponse::ServiceUnavailable().body(error.to_string()),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let inbox = common::Inbox::default();
    let dispatcher = Dispatcher::builder()
        .watch("tasks".parse()?)
        .source(common::counter())
        .availability(common::always_free)
        .receiver(inbox.receiver("agent"))
        .start()?;

    // The workers of the web server are other threads: the handle goes everywhere.
    let data = web::Data::new(dispatcher.clone());
    let server = HttpServer::new(move || {
        let app = App::new().app_data(data.clone());
        app.route("/status", web::get().to(status)).route("/flush", web::post().to(flush))
    })
    .workers(2)
    .disable_signals()
    .bind(("127.0.0.1", 0))?;
    let address = server.addrs()[0];
    let server = server.run();
    let web = server.handle();
    // A real application would just await the server.
    let ((), served) = futures_util::join!(
        async {
            dispatcher.poll().await.expect("the first values are the baseline");
            let mut answer =
                awc::Client::default().post(format!("http://{address}/flush")).send().await.expect("an answer");
            let body = answer.body().await.expect("a body");
            println!("POST /flush -> {} {}", answer.status(), String::from_utf8_lossy(&body));
            web.stop(true).await;
        },
        server
    );
    served?;

    // The server first, so that nobody asks any more; then the dispatcher.
    dispatcher.shutdown(Duration::from_secs(10)).await;
    assert_eq!(inbox.documents(), 1);
    Ok(())
}
