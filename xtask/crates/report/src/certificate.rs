//! Certificates for people: a table of the cells, and the line that a run's report ends with.

use domain::certificate::{Cell, Certificate, Compared};
use domain::client::{ErrorBound, ErrorMs};

/// The certificate as a table, one line a cell. Errors are median / p99 / largest, in ms.
pub fn table(certificate: &Certificate) -> String {
    let mut text = format!(
        "Error of servegate {} on {}, in ms (median / p99 / largest):\n",
        certificate.servegate_version, certificate.host
    );
    text += &line(&HEADINGS.map(str::to_owned));
    for cell in &certificate.cells {
        text += &line(&row(cell));
    }
    text
}

/// What a run's report says of its error.
pub(crate) fn bound(bound: &ErrorBound) -> String {
    let p99 = |error: ErrorMs| format!("{:.2}", error.p99_ms);
    format!(
        "- Client Error (p99): TTFT {} ms, ITL {} ms, TPOT {} ms; throughput {:.2} % (certified for {} streams, {} events/s)\n",
        p99(bound.ttft),
        p99(bound.itl),
        p99(bound.tpot),
        bound.throughput_share.abs() * 100.0,
        bound.streams,
        bound.events_per_s,
    )
}

const HEADINGS: [&str; 9] = [
    "streams",
    "events/s",
    "TTFT error",
    "ITL error",
    "TPOT error",
    "tokens/s error",
    "client CPU",
    "memory",
    "server CPU",
];
const WIDTHS: [usize; 9] = [8, 9, 23, 23, 23, 15, 11, 11, 11];

fn row(cell: &Cell) -> [String; 9] {
    let errors = |compared: Compared| {
        let error = compared.error;
        format!("{:.2} / {:.2} / {:.2}", error.median_ms, error.p99_ms, error.max_ms)
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let accuracy = &cell.accuracy;
    [
        cell.streams.to_string(),
        cell.events_per_s.to_string(),
        errors(accuracy.ttft),
        errors(accuracy.itl),
        errors(accuracy.tpot),
        format!("{:+.3} %", accuracy.throughput_share * 100.0),
        percent(cell.client_cpu_share),
        format!("{:.0} MiB", cell.client_memory_mib),
        percent(cell.server_cpu_share),
    ]
}

fn line(cells: &[String; 9]) -> String {
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$}"));
    cells.collect::<String>() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_one_line_of_the_report() {
        let error = |p99_ms| ErrorMs { median_ms: 0.01, p99_ms, max_ms: 9.0 };
        let line = bound(&ErrorBound {
            certificate: "certificates/vm-20261124T060000Z.json".to_owned(),
            streams: 64,
            events_per_s: 3200,
            ttft: error(0.13),
            itl: error(0.2),
            tpot: error(0.004),
            throughput_share: -0.0012,
        });
        insta::assert_snapshot!(line, @"- Client Error (p99): TTFT 0.13 ms, ITL 0.20 ms, TPOT 0.00 ms; throughput 0.12 % (certified for 64 streams, 3200 events/s)");
    }
}
