//! Answers, sent whole, slowly, or not to the end.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::time::{Sleep, sleep};

/// Between the two halves of a slow body.
const PAUSE: Duration = Duration::from_millis(200);

/// What is answered.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

/// How the body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    Slowly,
    /// Half of it, then the connection is closed.
    Broken,
}

/// A body that is on its way.
#[derive(Debug)]
pub(super) struct Paced {
    parts: VecDeque<Bytes>,
    left: u64,
    manner: Manner,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    pub(super) fn json(body: &impl Serialize) -> Self {
        Self::text(StatusCode::OK, "application/json", serde_json::to_vec(body).expect("answers are plain"))
    }

    pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self::text(status, "application/json", Bytes::new())
    }

    /// As the platform refuses something.
    pub(super) fn error(status: StatusCode, text: &str) -> Self {
        let body = serde_json::json!({ "error": text, "title": text, "status": status.as_u16() });
        Self { status, ..Self::json(&body) }
    }

    pub(super) fn send(self, manner: Manner) -> Response<Paced> {
        let left = self.body.len() as u64;
        let parts = if manner == Manner::Whole || left < 2 {
            VecDeque::from([self.body])
        } else {
            let half = self.body.len() / 2;
            VecDeque::from([self.body.slice(..half), self.body.slice(half..)])
        };
        let mut response = Response::new(Paced { parts, left, manner, pause: None });
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
            if self.manner == Manner::Broken {
                return Poll::Ready(Some(Err(io::Error::other("a fault of the platform"))));
            }
        }
        let Some(part) = self.parts.pop_front() else { return Poll::Ready(None) };
        self.left -= part.len() as u64;
        if !self.parts.is_empty() {
            // The pause also lets hyper write the first half before the second is not there.
            let length = if self.manner == Manner::Slowly { PAUSE } else { Duration::from_millis(1) };
            self.pause = Some(Box::pin(sleep(length)));
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
