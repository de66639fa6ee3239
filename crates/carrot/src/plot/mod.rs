//! Curves as a picture: panels in rows, each with axes, lines and what they stand for.
//!
//! One drawing for both formats. A PNG has two dots for each of an SVG's, for screens that show as many. What is drawn
//! is said by whoever has it: places on axes and how a mark is written, never numbers with a meaning.

mod axis;
mod font;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow, ensure};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, IntoFont, RGBColor, ShapeStyle, WHITE};

pub use self::axis::Axis;
use self::font::FAMILY;

/// A panel, in an SVG's dots; one that stands alone is larger.
const PANEL: (u32, u32) = (400, 330);
const ALONE: (u32, u32) = (720, 440);
/// The most panels in a row.
const ACROSS: usize = 3;
/// Dots of a PNG for one of an SVG.
const PNG_SCALE: u32 = 2;

/// A file to draw into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlotFile {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

/// A name that says no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plot is a file NAME.svg or NAME.png")]
pub struct BadPlotFile;

impl FromStr for PlotFile {
    type Err = BadPlotFile;
    fn from_str(text: &str) -> Result<Self, BadPlotFile> {
        let path = PathBuf::from(text);
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err(BadPlotFile),
        };
        Ok(Self { path, format })
    }
}

/// One panel: what it says, its axes and what is drawn between them.
pub struct Panel {
    /// Above it.
    pub title: String,
    /// To the right.
    pub x: Scale,
    /// Upwards.
    pub y: Scale,
    /// In the order in which they are drawn, the last above the others.
    pub lines: Vec<Line>,
}

/// An axis with its words.
pub struct Scale {
    /// Places and marks.
    pub axis: Axis,
    /// What it shows.
    pub name: String,
    /// How the place of a mark is written.
    pub written: Box<dyn Fn(f64) -> String>,
}

/// A line through points that are marked.
pub struct Line {
    /// What it stands for; empty, it is not in the legend.
    pub label: String,
    /// Places on both axes, from left to right.
    pub points: Vec<(f64, f64)>,
    /// How it looks.
    pub look: Look,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Of line and points.
    pub color: RGBColor,
    /// Of the line.
    pub width: u32,
    /// Of the points.
    pub radius: u32,
}

/// Blue and orange of Okabe and Ito, which the colour-blind can tell apart too. Blue is thinner and to be above, so that
/// both are seen where they are one.
pub const BLUE: Look = Look { color: RGBColor(0, 114, 178), width: 2, radius: 3 };
/// See [`BLUE`].
pub const ORANGE: Look = Look { color: RGBColor(230, 159, 0), width: 4, radius: 4 };

impl PlotFile {
    /// Whether there is a place for the file, before anything is done that takes its time. Nothing is written.
    ///
    /// # Errors
    /// Where it would stand is no directory, or a directory stands there.
    pub fn has_a_place(&self) -> anyhow::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let look = || -> anyhow::Result<()> {
            ensure!(fs::metadata(directory.unwrap_or(Path::new(".")))?.is_dir(), "its directory is none");
            ensure!(!self.path.is_dir(), "it is a directory");
            Ok(())
        };
        look().with_context(|| format!("plot {}", self.path.display()))
    }

    /// Draws the panels into the file, in place of what was there.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn draw(&self, panels: &[Panel]) -> anyhow::Result<()> {
        font::register()?;
        let drawn = match self.format {
            Format::Svg => svg(panels).and_then(|text| Ok(fs::write(&self.path, text)?)),
            Format::Png => png(panels, &self.path),
        };
        drawn.with_context(|| format!("plot {}", self.path.display()))
    }
}

fn svg(panels: &[Panel]) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, size(panels.len())).into_drawing_area(), panels, 1)?;
    Ok(text)
}

fn png(panels: &[Panel], file: &Path) -> anyhow::Result<()> {
    let (width, height) = size(panels.len());
    let (width, height) = (width * PNG_SCALE, height * PNG_SCALE);
    let mut dots = vec![0; width as usize * height as usize * 3];
    draw(&BitMapBackend::with_buffer(&mut dots, (width, height)).into_drawing_area(), panels, PNG_SCALE)?;
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(file)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&dots)?;
    Ok(writer.finish()?)
}

/// Panels in a row, and rows.
fn grid(panels: usize) -> (usize, usize) {
    // Four are better in two rows of two than in three and one.
    let across = if panels == 4 { 2 } else { panels.clamp(1, ACROSS) };
    (across, panels.div_ceil(across))
}

fn size(panels: usize) -> (u32, u32) {
    let (across, down) = grid(panels);
    let (width, height) = if panels == 1 { ALONE } else { PANEL };
    (width * across as u32, height * down as u32)
}

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, panels: &[Panel], scale: u32) -> anyhow::Result<()> {
    // The errors of a backend borrow from it; what they say does not.
    all(area, panels, scale).map_err(|error| anyhow!("{error}"))
}

fn all<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panels: &[Panel],
    scale: u32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let (across, down) = grid(panels.len());
    for (area, panel) in area.split_evenly((down, across)).iter().zip(panels) {
        one(area, panel, scale)?;
    }
    area.present()
}

fn one<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    scale: u32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let text = |size: u32| (FAMILY, size * scale).into_font();
    let mut chart = ChartBuilder::on(area)
        .margin(10 * scale)
        .margin_right(20 * scale)
        .caption(&panel.title, text(17))
        .x_label_area_size(48 * scale)
        .y_label_area_size(68 * scale)
        .build_cartesian_2d(panel.x.axis.clone(), panel.y.axis.clone())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225).stroke_width(1))
        .axis_style(RGBColor(90, 90, 90).stroke_width(scale))
        .label_style(text(15))
        .axis_desc_style(text(16))
        .x_desc(&panel.x.name)
        .y_desc(&panel.y.name)
        .x_label_formatter(&|place| (panel.x.written)(*place))
        .y_label_formatter(&|place| (panel.y.written)(*place))
        .draw()?;
    for line in &panel.lines {
        let Look { color, width, radius } = line.look;
        let stroke = color.stroke_width(width * scale);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), stroke))?;
        let length = 24 * scale as i32;
        if !line.label.is_empty() {
            drawn
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + length, y)], stroke));
        }
        let filled = ShapeStyle::from(color).filled();
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, radius * scale, filled)))?;
    }
    if panel.lines.iter().all(|line| line.label.is_empty()) {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .margin(8 * scale)
        .legend_area_size(30 * scale)
        .label_font(text(16))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.25))
        .draw()?;
    Ok(())
}
