//! A replica's metrics, read from Prometheus' text format as far as ours use it.

/// One line: labels as they are written, and the value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'m> {
    labels: &'m str,
    /// Its value.
    pub value: f64,
}

impl<'m> Sample<'m> {
    /// The value of a label; empty where there is none. Ours hold no quotes.
    pub fn label(&self, name: &str) -> &'m str {
        let parts = self.labels.split(',');
        let found = parts.filter_map(|part| part.split_once('=')).find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value.trim_matches('"'))
    }
}

/// All samples of a metric.
pub(super) fn samples<'m>(metrics: &'m str, name: &str) -> Vec<Sample<'m>> {
    let sample = |line: &'m str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None if rest.starts_with(' ') => ("", rest),
            None => return None,
        };
        Some(Sample { labels, value: value.trim().parse().ok()? })
    };
    metrics.lines().filter_map(sample).collect()
}

/// The only sample of a metric without labels.
pub(super) fn number(metrics: &str, name: &str) -> Option<f64> {
    samples(metrics, name).first().map(|sample| sample.value)
}

#[cfg(test)]
mod tests {
    use super::{number, samples};

    #[test]
    fn samples_have_labels_and_values_and_no_other_metric_is_meant() {
        let text =
            "# HELP a_total x\na_total{registry=\"r.example.com:5000\",result=\"ok\"} 3\na_total_more 4\na 1.5e9\n";
        let found = samples(text, "a_total");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].label("registry"), found[0].label("result")), ("r.example.com:5000", "ok"));
        assert_eq!((found[0].value, found[0].label("other")), (3.0, ""));
        assert_eq!(number(text, "a"), Some(1.5e9));
        assert_eq!(number(text, "b"), None);
    }
}
