//! A chart of some series over one axis, drawn as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Points in order, under a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) caption: String,
    pub(super) x_label: String,
    pub(super) series: Vec<Series>,
    /// Whether every point gets a mark.
    pub(super) with_marks: bool,
}

const SIZE: (u32, u32) = (800, 450);

/// Colours that are told apart without red and green (Okabe and Ito, 2008).
static COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(0, 0, 0),
];

impl Chart {
    /// Curves over the steps of a run; those without points are left out.
    pub(super) fn over_steps(caption: &str, mut series: Vec<Series>) -> Self {
        series.retain(|one| !one.points.is_empty());
        Self {
            caption: caption.to_owned(),
            x_label: "step".to_owned(),
            series,
            with_marks: false,
        }
    }

    /// Whether there is nothing to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The drawing.
    pub(super) fn svg(&self) -> String {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        // Into a string nothing fails.
        self.draw(&area).expect("a drawing in memory");
        drop(area);
        text
    }

    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let points = || self.series.iter().flat_map(|series| series.points.iter().copied());
        let (x, y) = (
            range(points().map(|point| point.0)),
            range(points().map(|point| point.1)),
        );
        let mut chart = ChartBuilder::on(area)
            .caption(&self.caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(240, 240, 240))
            .bold_line_style(RGBColor(215, 215, 215))
            .x_desc(&self.x_label)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for (series, &colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let line = chart.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
            let with_marks = self.with_marks;
            line.label(&series.name).legend(move |(x, y)| {
                let key = EmptyElement::at((x, y)) + PathElement::new(vec![(0, 0), (18, 0)], colour.stroke_width(2));
                key + Circle::new((9, 0), if with_marks { 4 } else { 0 }, colour.filled())
            });
            if self.with_marks {
                let marks = series
                    .points
                    .iter()
                    .map(|&point| Circle::new(point, 4, colour.filled()));
                chart.draw_series(marks)?;
            }
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(215, 215, 215))
            .position(SeriesLabelPosition::UpperRight)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// What an axis shows: all values, with room at both ends.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return 0.0..1.0;
    }
    let room = match high > low {
        true => (high - low) * 0.05,
        false => high.abs().max(1.0) * 0.5,
    };
    low - room..high + room
}

/// A number of at most four digits.
fn short(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if size == 0.0 => return "0".to_owned(),
        _ if !(1e-3..1e5).contains(&size) => return format!("{value:.1e}"),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_every_value() {
        assert_eq!(range([1.0, 3.0, 2.0].into_iter()), 0.9..3.1);
        assert_eq!(range([4.0].into_iter()), 2.0..6.0);
        assert_eq!(range([f64::NAN].into_iter()), 0.0..1.0);
        assert_eq!(range(std::iter::empty()), 0.0..1.0);
    }

    #[test]
    fn numbers_are_short() {
        let found = [0.0, 0.5, 12.5, 1234.6, 2e-5, 150_000.0, 1.0].map(short);
        assert_eq!(found, ["0", "0.5", "12.5", "1235", "2.0e-5", "1.5e5", "1"]);
    }
}
