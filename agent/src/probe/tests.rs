//! Every cause that loopback can provoke, by the layer that it belongs to.

mod connect;
mod hostile;
mod http;
mod http3;
mod page;
mod tls;
