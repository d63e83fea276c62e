//! Calls an operation of a service without the service's own crate, which may take minutes to compile or copy each record.
//!
//! The SDK's runtime offers this for "one-off unmodeled requests": signing, credentials, the HTTP client and timeouts are
//! those of the generated clients. Only the bytes of the request and the response are read and written here.

use std::fmt;

use aws_config::SdkConfig;
use aws_runtime::{
    auth::{
        SigV4OperationSigningConfig,
        sigv4::{self, SigV4AuthScheme},
    },
    recursion_detection::RecursionDetectionInterceptor,
    user_agent::{ApiMetadata, UserAgentInterceptor},
};
use aws_smithy_runtime::client::orchestrator::operation;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::{AuthSchemeOptionResolverParams, static_resolver::StaticAuthSchemeOptionResolver},
        orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
        result::SdkError,
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::StaticRuntimePlugin,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::Layer, error::ErrorMetadata, timeout::TimeoutConfig};
use aws_types::{SigningName, region::SigningRegion};
use serde_json::Value;

use super::endpoint::{ServiceName, endpoint};

/// The error of a call, for [`super::Operation::failure`].
pub type CallError = SdkError<ErrorMetadata, HttpResponse>;

/// A POST to a service.
pub struct Call {
    /// The path with which the endpoint is completed.
    pub path: String,
    /// The headers, apart from those of the signature.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Call {
    /// Without the body, which may hold a payload.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Call").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Call {
    /// A call of an operation in AWS's JSON 1.1, named as by the header `X-Amz-Target`.
    pub(super) fn json(target: &'static str, body: Vec<u8>) -> Self {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        Self {
            path: "/".to_owned(),
            headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
            body,
        }
    }

    fn into_request(self) -> Result<HttpRequest, BoxError> {
        let mut request = HttpRequest::new(SdkBody::from(self.body));
        request.set_method("POST")?;
        request.set_uri(self.path)?;
        for (name, value) in self.headers {
            request.headers_mut().try_insert(name, value)?;
        }
        Ok(request)
    }
}

/// Makes calls of one operation, whose successful responses are read as `T`.
#[derive(Debug)]
pub struct Caller<T> {
    operation: operation::Operation<Call, T, ErrorMetadata>,
}

impl<T: fmt::Debug + Send + Sync + 'static> Caller<T> {
    /// A caller with the region, credentials, endpoint and HTTP client of a configuration, and without retries.
    pub fn new(
        config: &SdkConfig,
        service: ServiceName,
        name: &'static str,
        read: impl Fn(&HttpResponse, &[u8]) -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let builder = operation::Operation::builder()
            .service_name(service.id)
            .operation_name(name)
            .endpoint_url(&endpoint(config, service))
            .timeout_config(config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
            .no_retry()
            .runtime_plugin(plugin(config, service))
            .serializer(Call::into_request)
            .deserializer(move |response: &HttpResponse| {
                let body = response.body().bytes().unwrap_or_default();
                if response.status().is_success() {
                    read(response, body).map_err(OrchestratorError::response)
                } else {
                    Err(OrchestratorError::operation(error_of(response, body)))
                }
            });
        Self { operation: builder.build() }
    }

    /// Makes a call and reads its response.
    ///
    /// # Errors
    ///
    /// When the service does not answer, refuses the call, or answers something else than expected.
    pub async fn call(&self, call: Call) -> Result<T, CallError> {
        self.operation.invoke(call).await
    }
}

/// What the generated clients take from their configuration.
fn plugin(config: &SdkConfig, service: ServiceName) -> StaticRuntimePlugin {
    let mut layer = Layer::new("Caller");
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(ApiMetadata::new(service.host, env!("CARGO_PKG_VERSION")));
    layer.store_put(SigV4OperationSigningConfig {
        region: config.region().cloned().map(SigningRegion::from),
        name: Some(SigningName::from_static(service.host)),
        ..SigV4OperationSigningConfig::default()
    });
    let mut components = RuntimeComponentsBuilder::new("Caller")
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![sigv4::SCHEME_ID])))
        .with_http_client(config.http_client())
        .with_identity_cache(config.identity_cache())
        .with_sleep_impl(config.sleep_impl())
        .with_time_source(config.time_source())
        .with_interceptor(UserAgentInterceptor::new())
        .with_interceptor(RecursionDetectionInterceptor::new());
    if let Some(credentials) = config.credentials_provider() {
        components.set_identity_resolver(sigv4::SCHEME_ID, credentials);
    }
    StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components)
}

/// The code and message of an error, as services that speak JSON report them.
///
/// Source: Smithy specification, "AWS JSON 1.1 protocol", "Operation error serialization".
fn error_of(response: &HttpResponse, body: &[u8]) -> ErrorMetadata {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: &[&str]| names.iter().find_map(|name| body[name].as_str()).map(str::to_owned);
    let code = response.headers().get("x-amzn-errortype").map(str::to_owned);
    let mut error = ErrorMetadata::builder();
    if let Some(code) = code.or_else(|| text(&["__type", "code", "Code"])) {
        error = error.code(bare(&code));
    }
    if let Some(message) = text(&["message", "Message"]) {
        error = error.message(message);
    }
    error.build()
}

/// `FooError` of `aws.protocoltests#FooError:http://example.com`.
fn bare(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.rsplit_once('#').map_or(code, |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;

    use super::*;

    fn error(header: Option<&'static str>, body: &str) -> ErrorMetadata {
        let mut response = HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        if let Some(header) = header {
            response.headers_mut().insert("x-amzn-errortype", header);
        }
        error_of(&response, body.as_bytes())
    }

    #[test]
    fn error_code_is_read_from_header_or_body() {
        for (header, body, code, message) in [
            (None, r#"{"__type": "FooError", "message": "m"}"#, Some("FooError"), Some("m")),
            (None, r#"{"__type": "aws.glue#FooError", "Message": "m"}"#, Some("FooError"), Some("m")),
            (None, r#"{"code": "FooError:http://internal/"}"#, Some("FooError"), None),
            (Some("FooError:http://internal/"), r#"{"__type": "Other"}"#, Some("FooError"), None),
            (Some("aws.glue#FooError"), "", Some("FooError"), None),
            (None, "<html>", None, None),
            (None, r#"{"__type": 3}"#, None, None),
        ] {
            let error = error(header, body);
            assert_eq!((error.code(), error.message()), (code, message), "{header:?} {body}");
        }
    }

    #[test]
    fn body_of_a_call_is_not_shown() {
        let call = Call { path: "/".to_owned(), headers: Vec::new(), body: b"payload".to_vec() };
        assert_eq!(format!("{call:?}"), r#"Call { path: "/", .. }"#);
    }
}
