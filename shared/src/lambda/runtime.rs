//! The Lambda runtime: passes every invocation to a function's handler.

use std::{cell::RefCell, fmt::Debug, mem, rc::Rc};

use bytes::Bytes;
use chrono::Utc;
use lambda_runtime::{
    Diagnostic, Error, LambdaEvent, LambdaInvocation, Runtime, layers::TracingLayer, service_fn,
    tower::util::MapRequestLayer,
};
use serde::{Serialize, de::IgnoredAny};

use crate::{lambda::invocation::Invocation, stream::batch::NotABatch};

/// Serves invocations until the execution environment ends.
///
/// The runtime would parse the payload before it passes it on. For a batch of 6 MB that takes as long as all of
/// transform's work. So a layer takes the payload out of the invocation first, and passes it on unparsed.
pub async fn serve<A, E>(handle: impl AsyncFn(&str, &Invocation) -> Result<A, E>) -> Result<(), Error>
where
    A: Serialize,
    E: Into<Diagnostic> + Debug,
{
    let handle = &handle;
    let payload = Rc::new(RefCell::new(Bytes::new()));
    let held = Rc::clone(&payload);
    let take_out = MapRequestLayer::new(move |mut invocation: LambdaInvocation| {
        held.replace(mem::replace(&mut invocation.body, Bytes::from_static(b"null")));
        invocation
    });
    let service = service_fn(|LambdaEvent { context, .. }: LambdaEvent<IgnoredAny>| {
        let payload = payload.take();
        async move {
            let text = simdutf8::compat::from_utf8(&payload).map_err(|error| Diagnostic {
                error_type: "NotText".to_owned(),
                error_message: format!("the payload is not UTF-8: {error}"),
            })?;
            let invocation =
                Invocation::begin(&context.request_id, context.deadline, Utc::now(), fastrand::u64(..));
            handle(text, &invocation).await.map_err(Into::into)
        }
    });
    Runtime::new(service).layer(TracingLayer::new()).layer(take_out).run().await
}

impl From<NotABatch> for Diagnostic {
    fn from(error: NotABatch) -> Self {
        Self { error_type: "NotABatch".to_owned(), error_message: error.to_string() }
    }
}
