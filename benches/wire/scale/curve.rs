//! How a review's cost grows with a size, and the word for it.

use crate::measure::{Group, Member, Spread};
use crate::say;
use crate::table::{Table, mebibytes, time, whole};

/// What a cost may come to beside the first and still counts as the same: runs differ by half of that.
const FLAT: f64 = 1.25;
/// The power of the size that a cost may grow by from one size to the next and still hardly grows: a thousand times the size
/// is then less than six times the cost.
const GENTLE: f64 = 0.25;
/// What a cost per unit may come to beside the cheapest one and still counts as linear.
const LINEAR: f64 = 1.25;

/// What was measured of members of these sizes.
pub struct Curve<'g> {
    pub group: &'g Group<'g>,
    pub sizes: &'g [usize],
}

/// What became of it, for the table of all.
pub struct Shape {
    title: String,
    from: usize,
    to: usize,
    /// CPU of a review at the last size beside that at the first.
    cost: f64,
    /// From one size to the next, the greatest power of the size that the cost grew by.
    steepest: f64,
    /// KiB from the first to the last.
    memory: [u64; 2],
    name: &'static str,
}

impl Curve<'_> {
    /// Says the table, and gives the shape.
    pub fn say(&self) -> Shape {
        say(&format!("## {}\n", self.group.title));
        let head = [
            "size",
            "reviews/s",
            "least",
            "greatest",
            "p50",
            "p99",
            "CPU µs",
            "beside the first",
            "power",
            "MiB",
            "ready",
        ];
        let mut table = Table::new(&head, 0);
        let costs: Vec<f64> = self.group.members.iter().map(cost).collect();
        let first = costs.first().copied().unwrap_or(f64::NAN);
        for (place, (member, &size)) in self.group.members.iter().zip(self.sizes).enumerate() {
            let rate = Spread::of(member.runs.iter().map(|run| run.rate));
            let power = place.checked_sub(1).map(|before| self.power(&costs, before));
            table.row([
                size.to_string(),
                whole(rate.median),
                whole(rate.least),
                whole(rate.greatest),
                time(member.median(|run| run.p50)),
                time(member.median(|run| run.p99)),
                format!("{:.1}", costs[place]),
                format!("{:.2}", costs[place] / first),
                power.map_or_else(|| "-".to_owned(), |power| format!("{power:.2}")),
                mebibytes(resident(member)),
                time(member.server.ready_after.as_secs_f64()),
            ]);
        }
        table.say();
        let steps = 0..costs.len().saturating_sub(1);
        let steepest = steps.map(|step| self.power(&costs, step)).fold(f64::NEG_INFINITY, f64::max);
        let ends = [self.group.members.first(), self.group.members.last()];
        Shape {
            title: self.group.title.clone(),
            from: self.sizes.first().copied().unwrap_or_default(),
            to: self.sizes.last().copied().unwrap_or_default(),
            cost: costs.last().copied().unwrap_or(f64::NAN) / first,
            steepest,
            memory: ends.map(|member| member.map_or(0, resident)),
            name: self.name(&costs, steepest),
        }
    }

    /// The power of the size that the cost grew by from this place to the next.
    fn power(&self, costs: &[f64], place: usize) -> f64 {
        (costs[place + 1] / costs[place]).ln() / (number(self.sizes[place + 1]) / number(self.sizes[place])).ln()
    }

    fn name(&self, costs: &[f64], steepest: f64) -> &'static str {
        let greatest = costs.iter().copied().fold(f64::NAN, f64::max);
        let per_unit: Vec<f64> = costs.iter().zip(self.sizes).map(|(cost, &size)| cost / number(size)).collect();
        let mut cheapest = f64::INFINITY;
        let linear = per_unit.iter().all(|&cost| {
            cheapest = cheapest.min(cost);
            cost <= cheapest * LINEAR
        });
        match costs.first() {
            Some(first) if greatest <= first * FLAT => "flat",
            _ if steepest <= GENTLE => "hardly grows",
            _ if linear => "linear or better",
            _ => "WORSE THAN LINEAR",
        }
    }
}

/// Microseconds of CPU for a review.
fn cost(member: &Member<'_>) -> f64 {
    member.median(|run| run.cpu) * 100.0
}

fn resident(member: &Member<'_>) -> u64 {
    member.runs.last().map_or(0, |run| run.resident)
}

fn number(size: usize) -> f64 {
    u32::try_from(size).map_or(f64::INFINITY, f64::from)
}

/// All of them as a table.
pub fn shapes(shapes: &[Shape]) -> Table {
    let head = [
        "dimension",
        "shape",
        "from",
        "to",
        "CPU of a review, last beside first",
        "steepest power",
        "MiB first",
        "MiB last",
    ];
    let mut table = Table::new(&head, 2);
    for shape in shapes {
        let Shape { title, from, to, cost, steepest, memory: [first, last], name } = shape;
        table.row([
            title.clone(),
            (*name).to_owned(),
            from.to_string(),
            to.to_string(),
            format!("{cost:.2}"),
            format!("{steepest:.2}"),
            mebibytes(*first),
            mebibytes(*last),
        ]);
    }
    table
}
