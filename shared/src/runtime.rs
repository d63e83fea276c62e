//! The Lambda runtime: every invocation is handed to a function's handler.

use std::fmt::Debug;

use chrono::Utc;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{invocation::Invocation, kinesis::NotABatch};

/// Serves invocations until the execution environment ends.
pub async fn serve<A, E>(handle: impl AsyncFn(&RawValue, &Invocation) -> Result<A, E>) -> Result<(), Error>
where
    A: Serialize,
    E: Into<Diagnostic> + Debug,
{
    let handle = &handle;
    run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        let LambdaEvent { payload, context } = event;
        let invocation =
            Invocation::begin(&context.request_id, context.deadline, Utc::now(), fastrand::u64(..));
        handle(&payload, &invocation).await
    }))
    .await
}

impl From<NotABatch> for Diagnostic {
    fn from(error: NotABatch) -> Self {
        Self { error_type: "NotABatch".to_owned(), error_message: error.to_string() }
    }
}
