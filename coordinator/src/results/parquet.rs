//! Results as a Parquet file: one row a run, with the fields of a result line as columns.
//!
//! What is unknown is null. Instants are microseconds in UTC, durations microseconds; lists are Parquet's own. Rows are
//! written in groups of 65,536, so that what waits in memory is bounded.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::Arc,
};

use faultline_attribution::{Outcome, Timestamp};
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

use super::ResultLine;

/// Rows in a group. Source: some 300 bytes a row make 20 MiB of memory.
const GROUP: usize = 1 << 16;

/// The columns, in the order in which [`Rows::write`] writes them.
const SCHEMA: &str = "
message result {
  required binary agent (STRING);
  required binary target (STRING);
  required int64 at (TIMESTAMP(MICROS, true));
  optional int64 received_at (TIMESTAMP(MICROS, true));
  optional binary probe (STRING);
  required binary outcome (STRING);
  optional binary layer (STRING);
  optional binary cause (STRING);
  optional binary reason (STRING);
  optional int64 dns_us;
  optional int64 connect_us;
  optional int64 tls_us;
  optional int64 first_byte_us;
  optional int64 body_us;
  optional int64 total_us;
  optional binary resolver (STRING);
  optional int32 family;
  required int32 attempt;
  required boolean on_demand;
  required boolean late;
  required boolean clock_suspect;
  optional binary address (STRING);
  optional binary protocol (STRING);
  optional int32 status;
  required group edge (MAP) {
    repeated group key_value {
      required binary key (STRING);
      required binary value (STRING);
    }
  }
  required group cnames (LIST) { repeated group list { required binary element (STRING); } }
  required group name_servers (LIST) { repeated group list { required binary element (STRING); } }
  optional binary issuer (STRING);
  required group answers (LIST) { repeated group list { required binary element (STRING); } }
  optional binary rcode (STRING);
  optional binary last_hop (STRING);
}
";

/// Writes a Parquet file.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Rows,
}

impl<W: Write + Send> Writer<W> {
    /// Begins the file.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn new(out: W) -> io::Result<Self> {
        let begin = || -> Result<_> {
            let schema = Arc::new(parse_message_type(SCHEMA)?);
            let compression = Compression::ZSTD(ZstdLevel::try_new(3)?);
            let properties = WriterProperties::builder().set_compression(compression).build();
            SerializedFileWriter::new(out, schema, Arc::new(properties))
        };
        Ok(Self { file: begin().map_err(plain)?, rows: Rows::default() })
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&mut self, line: &ResultLine<'_>) -> io::Result<()> {
        self.rows.add(line);
        if self.rows.at.values.len() < GROUP { Ok(()) } else { self.write_group() }
    }

    /// Ends the file: without this it is none.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.rows.at.values.is_empty() {
            self.write_group()?;
        }
        self.file.close().map(|_| ()).map_err(plain)
    }

    fn write_group(&mut self) -> io::Result<()> {
        let mut write = || -> Result<()> {
            let mut group = self.file.next_row_group()?;
            self.rows.write(&mut group)?;
            group.close().map(|_| ())
        };
        write().map_err(plain)
    }
}

/// The error of the file below, where it is one: a pipe that is closed is no failure.
fn plain(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

/// A column of a group of rows: values, and what says in which rows they stand.
struct Column<T: DataType> {
    values: Vec<T::T>,
    /// 1 for a value, 0 for none; empty where there is always one.
    defined: Vec<i16>,
    /// 0 for the first of a row, 1 for those after it; empty where there is one at most.
    repeated: Vec<i16>,
}

impl<T: DataType> Default for Column<T> {
    fn default() -> Self {
        Self { values: Vec::new(), defined: Vec::new(), repeated: Vec::new() }
    }
}

impl<T: DataType> Column<T> {
    fn always(&mut self, value: T::T) {
        self.values.push(value);
    }

    fn maybe(&mut self, value: Option<T::T>) {
        self.defined.push(value.is_some().into());
        self.values.extend(value);
    }

    fn list(&mut self, values: impl Iterator<Item = T::T>) {
        let before = self.values.len();
        for value in values {
            self.repeated.push((self.values.len() > before).into());
            self.defined.push(1);
            self.values.push(value);
        }
        if self.values.len() == before {
            self.repeated.push(0);
            self.defined.push(0);
        }
    }

    fn write<W: Write + Send>(&mut self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let missing = || ParquetError::General("more columns than the schema has".to_owned());
        let mut column = group.next_column()?.ok_or_else(missing)?;
        let levels = |levels: &Vec<i16>| (!levels.is_empty()).then(|| levels.clone());
        let (defined, repeated) = (levels(&self.defined), levels(&self.repeated));
        column.typed::<T>().write_batch(&self.values, defined.as_deref(), repeated.as_deref())?;
        column.close()?;
        *self = Self::default();
        Ok(())
    }
}

type Text = Column<ByteArrayType>;

/// Rows that wait for their group to be full.
#[derive(Default)]
struct Rows {
    agent: Text,
    target: Text,
    at: Column<Int64Type>,
    received_at: Column<Int64Type>,
    probe: Text,
    outcome: Text,
    layer: Text,
    cause: Text,
    reason: Text,
    timings: [Column<Int64Type>; 6],
    resolver: Text,
    family: Column<Int32Type>,
    attempt: Column<Int32Type>,
    flags: [Column<BoolType>; 3],
    address: Text,
    protocol: Text,
    status: Column<Int32Type>,
    edge: [Text; 2],
    cnames: Text,
    name_servers: Text,
    issuer: Text,
    answers: Text,
    rcode: Text,
    last_hop: Text,
}

impl Rows {
    fn add(&mut self, line: &ResultLine<'_>) {
        let text = |text: &str| ByteArray::from(text);
        let known = |text: &Cow<'_, str>| (!text.is_empty()).then(|| ByteArray::from(&**text));
        let texts = |texts: &[Cow<'_, str>]| texts.iter().map(|text| ByteArray::from(&**text)).collect::<Vec<_>>();
        self.agent.always(text(&line.agent));
        self.target.always(text(&line.target));
        self.at.always(line.at.micros());
        self.received_at.maybe(line.received_at.map(Timestamp::micros));
        self.probe.maybe(line.probe.map(|probe| text(probe.as_str())));
        let (outcome, layer, cause, reason) = match line.outcome {
            Outcome::Passed => ("passed", None, None, None),
            Outcome::Failed { layer, cause } => ("failed", Some(layer.to_string()), Some(cause.to_string()), None),
            Outcome::Unmeasured { reason } => ("unmeasured", None, None, Some(reason.to_string())),
        };
        self.outcome.always(text(outcome));
        for (column, word) in [(&mut self.layer, layer), (&mut self.cause, cause), (&mut self.reason, reason)] {
            column.maybe(word.as_deref().map(text));
        }
        let timings = &line.timings;
        let timings =
            [timings.dns, timings.connect, timings.tls, timings.first_byte, timings.body, timings.total].into_iter();
        for (column, micros) in self.timings.iter_mut().zip(timings) {
            column.maybe((micros != 0).then(|| i64::try_from(micros).unwrap_or(i64::MAX)));
        }
        self.resolver.maybe(known(&line.resolver));
        self.family.maybe(line.family.map(i32::from));
        self.attempt.always(i32::try_from(line.attempt).unwrap_or(i32::MAX));
        for (column, flag) in self.flags.iter_mut().zip([line.on_demand, line.late, line.clock_suspect]) {
            column.always(flag);
        }
        self.address.maybe(line.address.map(|address| text(&address.to_string())));
        self.protocol.maybe(known(&line.protocol));
        self.status.maybe(line.status.map(i32::from));
        let [names, values] = &mut self.edge;
        names.list(line.edge.iter().map(|(name, _)| text(name)));
        values.list(line.edge.iter().map(|(_, value)| text(value)));
        self.cnames.list(texts(&line.cnames).into_iter());
        self.name_servers.list(texts(&line.name_servers).into_iter());
        self.issuer.maybe(known(&line.issuer));
        self.answers.list(texts(&line.answers).into_iter());
        self.rcode.maybe(known(&line.rcode));
        self.last_hop.maybe(known(&line.last_hop));
    }

    /// In the order of [`SCHEMA`].
    fn write<W: Write + Send>(&mut self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        self.agent.write(group)?;
        self.target.write(group)?;
        self.at.write(group)?;
        self.received_at.write(group)?;
        for column in [&mut self.probe, &mut self.outcome, &mut self.layer, &mut self.cause, &mut self.reason] {
            column.write(group)?;
        }
        self.timings.iter_mut().try_for_each(|column| column.write(group))?;
        self.resolver.write(group)?;
        self.family.write(group)?;
        self.attempt.write(group)?;
        self.flags.iter_mut().try_for_each(|column| column.write(group))?;
        self.address.write(group)?;
        self.protocol.write(group)?;
        self.status.write(group)?;
        self.edge.iter_mut().try_for_each(|column| column.write(group))?;
        self.cnames.write(group)?;
        self.name_servers.write(group)?;
        self.issuer.write(group)?;
        self.answers.write(group)?;
        self.rcode.write(group)?;
        self.last_hop.write(group)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use faultline_attribution::{Cause, Layer, ProbeKind};
    use parquet::file::{metadata::RowGroupMetaData, reader::FileReader as _, serialized_reader::SerializedFileReader};

    use super::{super::Timings, *};

    fn failed<'a>() -> ResultLine<'a> {
        let outcome = Outcome::Failed { layer: Layer::Http, cause: Cause::HttpStatus };
        ResultLine {
            received_at: Some(Timestamp::from_micros(1_761_752_641_000_000)),
            probe: Some(ProbeKind::Https),
            timings: Timings { dns: 7, total: 90, ..Timings::default() },
            family: Some(4),
            late: true,
            address: Some("192.0.2.7".parse().expect("an address")),
            status: Some(503),
            edge: vec![("server".into(), "s".into()), ("x-cache".into(), "miss".into())],
            cnames: vec!["a.example".into(), "b.example".into()],
            rcode: "NOERROR".into(),
            ..ResultLine::new("fra-1", "shop", Timestamp::from_micros(1_761_752_640_000_000), outcome)
        }
    }

    #[test]
    fn every_field_is_a_column_and_what_is_unknown_is_null() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file).expect("begins");
        writer.write(&failed()).expect("written");
        writer.write(&ResultLine::new("lon-1", "shop", Timestamp::from_micros(5), Outcome::Passed)).expect("written");
        writer.finish().expect("ends");
        let reader = SerializedFileReader::new(Bytes::from(file)).expect("a file");
        let rows: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        assert_eq!(rows.len(), 2);
        for part in [
            r#"agent: "fra-1""#,
            "at: 2025-10-29",
            r#"outcome: "failed", layer: "http", cause: "http_status", reason: null"#,
            "dns_us: 7, connect_us: null",
            "total_us: 90",
            "family: 4, attempt: 1, on_demand: false, late: true",
            r#"address: "192.0.2.7""#,
            "status: 503",
            r#"edge: {"server" -> "s", "x-cache" -> "miss"}"#,
            r#"cnames: ["a.example", "b.example"]"#,
            "name_servers: []",
            r#"rcode: "NOERROR""#,
        ] {
            assert!(rows[0].contains(part), "{part} is not in {}", rows[0]);
        }
        assert!(rows[1].contains(r#"outcome: "passed", layer: null"#), "{}", rows[1]);
        assert!(rows[1].contains("edge: {}, cnames: []"), "{}", rows[1]);
    }

    #[test]
    fn rows_beyond_a_group_begin_another() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file).expect("begins");
        for _ in 0..=GROUP {
            writer.write(&failed()).expect("written");
        }
        writer.finish().expect("ends");
        let reader = SerializedFileReader::new(Bytes::from(file)).expect("a file");
        let rows: Vec<_> = reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(rows, [1 << 16, 1]);
    }
}
