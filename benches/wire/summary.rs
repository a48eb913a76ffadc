//! The figures that are to be reached, each with its bar, its stretch and what was measured.

use crate::measure::Group;
use crate::table::{Table, time};

/// One of them.
pub struct Figure([String; 4]);

impl Figure {
    pub fn new(what: impl Into<String>, bar: &str, stretch: &str, measured: String) -> Self {
        Figure([what.into(), bar.to_owned(), stretch.to_owned(), measured])
    }
}

/// All of them, in the order in which they were measured.
#[derive(Default)]
pub struct Summary(Vec<Figure>);

impl Summary {
    pub fn figure(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    /// What a group of runs says of the figures.
    pub fn groups(&mut self, group: &Group<'_>) {
        let protocol = group.protocol.name();
        for member in &group.members {
            let base = member.against.and_then(|base| group.members.get(base)).map(|base| base.name.as_str());
            let (what, bar, stretch) = match (member.name.as_str(), base) {
                ("static", Some("floor")) if member.connections == 1 => {
                    let cpu = time(member.median(|run| run.cpu) / 1e4);
                    let measured = format!("{}; CPU {cpu}", time(member.median(|run| run.p50)));
                    let what = format!("{}, static, {protocol}, median", group.title);
                    self.figure(Figure::new(what, "10 ms", "3 ms", measured));
                    continue;
                }
                ("static", Some("floor")) => ("static beside the floor", "0.60", "0.75"),
                ("static, 1,000 rules", _) => ("1,000 rules beside 1", "0.77", "0.95"),
                ("warm digests", _) => ("warm digests beside static", "0.90", "0.97"),
                _ => continue,
            };
            let ratio = group.ratio(member, |run| run.rate).zip(group.ratio(member, |run| 1.0 / run.cpu));
            let Some((by_rate, by_cpu)) = ratio else { continue };
            let what = format!("{what}, {}, {protocol}", group.title);
            let measured = format!("{:.2}; by CPU {:.2}", by_rate.median, by_cpu.median);
            self.figure(Figure::new(what, bar, stretch, measured));
        }
    }

    pub fn table(self) -> Table {
        let mut table = Table::new(&["figure", "bar", "stretch", "measured"], 1);
        for Figure(cells) in self.0 {
            table.row(cells);
        }
        table
    }
}
