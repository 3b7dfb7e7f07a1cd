//! The server: accepts connections and answers their requests until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;
use crate::http::{After, Connection, NoRequest, Request, respond};
use crate::wire::Dialect;
use crate::{control, generate};

/// Most connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8192;
/// Pause after a failed accept, for example when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server ended by the fault `crash`.
#[derive(Debug, thiserror::Error)]
#[error("the server crashed, as the fault `crash` wants it to")]
struct Crashed;

/// Listens on an address, with a queue that a burst of connections fits into: one that does not
/// is retried by the kernel a second later, which would look like a slow server.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: u32 = 4096;
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port that the last server has just left can be taken again.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` says so, its sender is gone, or the fault `crash` strikes.
pub(crate) async fn run(
    listener: TcpListener,
    app: Arc<App>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut listener = (!app.faults.port_closed()).then_some(listener);
    let mut engine = tokio::spawn(app.driver.clone().run());
    // Dropping the set ends every connection.
    let mut connections = JoinSet::new();
    let ended = loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break Ok(()),
            () = app.crash.notified() => break Err(io::Error::other(Crashed)),
            broken = &mut engine => break Err(broken.err().map_or(
                io::Error::other("the engine ended"), io::Error::other)),
            () = app.close_port.notified() => listener = None,
            Some(_) = connections.join_next() => {}
            stream = accept(listener.as_ref()), if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(converse(Arc::clone(&app), stream));
            }
        }
    };
    engine.abort();
    ended
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Answers the requests of one connection.
async fn converse(app: Arc<App>, stream: TcpStream) {
    let Ok(mut connection) = Connection::new(stream, app.clock) else { return };
    loop {
        let request = match connection.request().await {
            Ok(request) => request,
            Err(NoRequest::Gone) => return,
            Err(NoRequest::Refused(status, why)) => {
                let body = control::error(status, why).bytes(true);
                if connection.write(&body).await.is_ok() {
                    connection.finish().await;
                }
                return;
            }
        };
        match answer(&app, &mut connection, &request).await {
            After::KeepOpen if !request.wants_close() => {}
            After::KeepOpen | After::Close => return connection.finish().await,
            After::Reset => return connection.reset(),
        }
    }
}

async fn answer(app: &App, connection: &mut Connection, request: &Request) -> After {
    let response = match Dialect::at(&request.path) {
        _ if control::is_held_back(app, &request.path) => {
            control::error(503, "the model is still being loaded")
        }
        Some(dialect) if request.method == "POST" => {
            return generate::answer(app, connection, request, dialect).await;
        }
        Some(_) => control::error(405, "this path takes POST"),
        None => control::answer(app, request).await,
    };
    respond(connection, &response, request.wants_close()).await
}
