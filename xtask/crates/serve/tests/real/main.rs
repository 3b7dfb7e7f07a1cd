//! The crate against real processes and real sockets.

#[cfg(test)]
mod attached;
#[cfg(test)]
mod common;
#[cfg(test)]
mod llama_cpp;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod python_servers;
