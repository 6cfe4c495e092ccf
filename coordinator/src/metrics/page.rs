//! Families of metrics as they are added, and the text that they come to.

use prometheus::{
    Counter, CounterVec, Encoder as _, Error, Gauge, GaugeVec, Opts, Registry, TextEncoder,
    process_collector::ProcessCollector,
};

use super::whole;

/// Metrics of one moment.
#[derive(Default)]
pub(super) struct Page(Registry);

impl Page {
    /// Adds a gauge.
    pub(super) fn gauge(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.0.register(Box::new(gauge))
    }

    /// Adds a gauge for each series.
    pub(super) fn gauges<'a, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        series: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) -> Result<(), Error> {
        let gauges = GaugeVec::new(Opts::new(name, help), &labels)?;
        for (words, value) in series {
            gauges.get_metric_with_label_values(&words)?.set(value);
        }
        self.0.register(Box::new(gauges))
    }

    /// Adds a counter; its name ends in `_total`.
    pub(super) fn counter(&self, name: &str, help: &str, count: u64) -> Result<(), Error> {
        let counter = Counter::new(name, help)?;
        counter.inc_by(whole(count));
        self.0.register(Box::new(counter))
    }

    /// Adds a counter for each series.
    pub(super) fn counters<'a, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        series: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) -> Result<(), Error> {
        let counters = CounterVec::new(Opts::new(name, help), &labels)?;
        for (words, count) in series {
            counters.get_metric_with_label_values(&words)?.inc_by(whole(count));
        }
        self.0.register(Box::new(counters))
    }

    /// Adds what the process takes.
    pub(super) fn process(&self) -> Result<(), Error> {
        self.0.register(Box::new(ProcessCollector::for_self()))
    }

    /// The text.
    pub(super) fn text(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| Error::Msg(error.to_string()))
    }
}
