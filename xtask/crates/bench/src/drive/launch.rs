//! `launch`: start the framework, or attach to a running server.

use domain::event::{Event, FailureClass, Outcome, StepFailure};
use domain::target::Target;
use serve::{Endpoint, LaunchError, LaunchSpec};
use skill::setup::Launch;
use skill::{FactName, PlannedStep};

use super::{Live, failed, failed_hinted, unrecorded};
use crate::session::Session;

/// Has a server run, or an attached one noted. The process is in the journal before it starts.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    launch: &Launch,
) -> Result<Outcome, StepFailure> {
    let target = session.target_of(planned);
    if target.url.is_some() {
        let endpoint =
            Endpoint::attach(target).map_err(|error| failed_hinted(FailureClass::Server, error))?;
        let url = endpoint.url().to_owned();
        live.endpoint = Some(endpoint);
        return Ok(Outcome::Launched { url, command: Vec::new() });
    }
    let Some((healthy, _)) = &live.healthy else {
        return Err(super::unproved(FactName::GpuHealthy));
    };
    live.vram_before_launch_mib = session.vram_used_mib();
    live.log_tail_lines = launch.log_tail_lines;
    let spec = spec(session, live, planned, launch)?;
    let held = serve::prepare(&spec, healthy).map_err(launch_failed)?;
    let process = held.process().clone();
    session
        .recorder
        .record(Event::ServerStarted { process })
        .map_err(|failure| unrecorded(&failure))?;
    let command = held.command().to_vec();
    let server = held.release().await.map_err(launch_failed)?;
    let url = server.url().to_owned();
    live.endpoint = Some(server.endpoint().clone());
    live.server = Some(server);
    Ok(Outcome::Launched { url, command })
}

fn launch_failed(error: LaunchError) -> StepFailure {
    failed_hinted(FailureClass::Server, error)
}

fn spec(
    session: &Session,
    live: &Live,
    planned: &PlannedStep,
    launch: &Launch,
) -> Result<LaunchSpec, StepFailure> {
    let target = session.target_of(planned).clone();
    let port = target.port.map_or_else(serve::free_port, Ok);
    let port = port.map_err(|error| failed(FailureClass::Server, error))?;
    let sim_program = std::env::current_exe();
    let sim_program = sim_program.map_err(|error| failed(FailureClass::Server, error))?;
    let folder = session.new_folder(target.framework.as_str());
    let folder = folder.map_err(|error| failed(FailureClass::Storage, error))?;
    Ok(LaunchSpec {
        served_name: served_name(&target),
        conditions: launch.conditions.clone(),
        target,
        port,
        session_tag: session.tag(),
        folder,
        sim_program,
        gpu_uuids: live.gpu_uuids.clone(),
    })
}

/// The name to serve the model under: the one given, else the last part of the model's own.
fn served_name(target: &Target) -> String {
    let model = target.model.as_deref().unwrap_or(target.framework.as_str());
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or(model);
    target.served_model_name.clone().unwrap_or_else(|| last.to_owned())
}
