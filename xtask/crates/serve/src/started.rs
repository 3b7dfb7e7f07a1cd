//! The process of a server that was started here: what belongs to it, and what does not.

use crate::port::{self, Holder};
use crate::process::tag;
use crate::procfs;

/// A server that was started here.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    /// The tag that everything of it carries.
    variable: String,
    /// Whether it was given a GPU.
    pub(crate) on_gpu: bool,
}

impl Started {
    pub(crate) fn new(pid: u32, session_tag: &str, on_gpu: bool) -> Self {
        Self { pid, variable: tag(session_tag), on_gpu }
    }

    /// Whether a process belongs to the server.
    fn owns(&self, pid: u32) -> bool {
        let in_session = procfs::stat(pid).is_some_and(|stat| stat.session == self.pid);
        in_session || procfs::carries(pid, &self.variable)
    }

    /// Who listens on the server's port instead of it. A listener that cannot be seen from here
    /// says nothing either way.
    pub(crate) fn stranger(&self, port: u16) -> Option<Holder> {
        port::listener(port).filter(|pid| !self.owns(*pid)).map(Holder::of)
    }
}
