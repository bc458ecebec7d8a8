//! The connection to the controller.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use hawser_proto::operator::v1::operator_client::OperatorClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::context::Context;
use crate::error::{CliError, Exit, is_untrusted};

/// The name in every controller's certificate, whatever its address.
const SERVER_NAME: &str = "controller.hawser";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

fn server_name(fleet: Option<&str>) -> String {
    fleet.map_or_else(|| SERVER_NAME.to_owned(), |fleet| format!("{fleet}.{SERVER_NAME}"))
}

pub type Client = OperatorClient<InterceptedService<Channel, Bearer>>;

/// Of the W3C's trace context, as pipelines hand it to what they run.
const TRACE_VARIABLE: &str = "TRACEPARENT";

/// Adds the token to each call, and the trace that the call is part of.
#[derive(Clone)]
pub struct Bearer {
    token: MetadataValue<Ascii>,
    trace: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.token.clone());
        if let Some(trace) = &self.trace {
            request.metadata_mut().insert("traceparent", trace.clone());
        }
        Ok(request)
    }
}

/// Calls to one controller, each with a bounded time.
pub struct Session {
    client: Client,
    controller: String,
    timeout: Duration,
}

impl Session {
    /// Connects at the first call.
    pub fn new(context: &Context, timeout: Duration) -> Result<Self, CliError> {
        let invalid = |what: &str| {
            let message = format!("the context file's {what} can't be used");
            CliError::new(Exit::Usage, "CONTEXT_INVALID", message, "take it as it was written")
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&context.ca_pem))
            .domain_name(server_name(context.fleet.as_deref()));
        let channel = Endpoint::from_shared(context.controller.clone())
            .map_err(|_| invalid("controller"))?
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .tls_config(tls)
            .map_err(|_| invalid("ca_pem"))?
            .connect_lazy();
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {}", context.token).parse().map_err(|_| invalid("token"))?;
        bearer.set_sensitive(true);
        let trace = std::env::var(TRACE_VARIABLE).ok().and_then(|trace| trace.parse().ok());
        let client = OperatorClient::with_interceptor(channel, Bearer { token: bearer, trace })
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, controller: context.controller.clone(), timeout })
    }

    /// A call that changes nothing: tried again while the controller can't be reached, until the time is over.
    pub async fn read<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.timeout;
        let mut pauses = Pauses::default();
        loop {
            let status = match timeout_at(deadline, call(self.client.clone())).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return Err(self.too_slow()),
            };
            let pause = pauses.next();
            if !worth_another_try(&status) || Instant::now() + pause >= deadline {
                return Err(self.error(&status));
            }
            sleep(pause).await;
        }
    }

    /// A call that changes something: made once.
    pub async fn change<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.timeout;
        match timeout_at(deadline, call(self.client.clone())).await {
            Ok(result) => result.map(Response::into_inner).map_err(|status| self.error(&status)),
            Err(_) => {
                let mut error = self.too_slow();
                error.mend = "it may have been done: look before trying again".to_owned();
                Err(error)
            }
        }
    }

    pub fn error(&self, status: &Status) -> CliError {
        CliError::from_status(status, &self.controller)
    }

    fn too_slow(&self) -> CliError {
        let message =
            format!("the controller at {} gave no answer in {:?}", self.controller, self.timeout);
        CliError::new(Exit::Unreachable, "CONTROLLER_UNREACHABLE", message, "wait with --timeout")
    }
}

/// Whether the way to the controller, and not the controller's answer, is the trouble.
pub fn worth_another_try(status: &Status) -> bool {
    status.code() == Code::Unavailable && !is_untrusted(status)
}

/// Growing pauses with jitter, so that many clients do not come back at once.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// Between half of the pause and all of it; the next one is twice as long.
    pub fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = (whole * 2).min(LONGEST_PAUSE);
        // The standard library seeds each of these at random.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        whole / 2 + (whole / 2).mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PAUSE, Pauses};

    #[test]
    fn pauses_grow_to_a_bound_and_are_never_all_equal() {
        let mut found = Vec::new();
        for _ in 0..20 {
            let mut pauses = Pauses::default();
            let list: Vec<_> = (0..8).map(|_| pauses.next()).collect();
            assert!(list[7] > list[0] * 4 && list.iter().all(|pause| *pause <= LONGEST_PAUSE));
            found.push(list[3]);
        }
        found.dedup();
        assert!(found.len() > 1);
    }
}
