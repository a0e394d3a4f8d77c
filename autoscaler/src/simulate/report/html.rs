//! One page with everything in it: no other file, no network. Tables are plain HTML; a small script draws the plots.

use std::fmt::Write as _;

use super::{
    super::{Comparison, Row, contender::Kind},
    FIGURE_HEADER, HEADER, Record, Report, cells, figure_cells, printed,
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Columns of words; the others are numbers.
const WORDS: usize = 2;

pub fn page(report: &Report) -> Result<String, serde_json::Error> {
    let mut page = String::new();
    let data = in_script(&serde_json::to_string(&Record::with_timelines(report))?);
    // Writing to a string does not fail.
    let _ = write_page(&mut page, report, &data);
    Ok(page)
}

fn write_page(page: &mut String, report: &Report, data: &str) -> std::fmt::Result {
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Dunlin: policies on simulated loads</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Policies on simulated loads</h1>\n\
         <p class=\"soft\">Each policy meets the same arrivals, service times and boot times. Numbers are means over \
         {} seeds with 95&nbsp;% confidence intervals; a tuned rival has the settings that turned out best on this very \
         load; ours has the same constants on all, chosen while looking at those with a figure.</p>\n",
        report.seeds
    )?;
    if report.comparisons.len() > 1 {
        page.push_str("<nav aria-label=\"Scenarios\">");
        for (i, comparison) in report.comparisons.iter().enumerate() {
            write!(page, "<a href=\"#scenario-{i}\">{}</a>", escape(&comparison.scenario.name))?;
        }
        page.push_str("</nav>\n");
    }
    if !report.figures.is_empty() {
        figures(page, report)?;
    }
    for (i, comparison) in report.comparisons.iter().enumerate() {
        section(page, i, comparison)?;
    }
    write!(
        page,
        "<noscript><p>The plots need JavaScript; all their numbers are in the tables.</p></noscript>\n</main>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn figures(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str("<section id=\"figures\">\n<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<tr>");
    for title in FIGURE_HEADER {
        write!(page, "<th>{}</th>", sentence_case(title))?;
    }
    page.push_str("</tr>\n");
    for figure in &report.figures {
        let [scenario, verdict, must, got, rival] = figure_cells(figure).map(|cell| escape(&cell));
        let (class, sign) = if figure.passes() { ("met", "✓") } else { ("missed", "✗") };
        writeln!(
            page,
            "<tr><td class=\"nowrap\">{scenario}</td><td class=\"{class}\">{sign} {verdict}</td>\
             <td class=\"nowrap\">{must}</td><td class=\"nowrap\">{got}</td><td>{rival}</td></tr>"
        )?;
    }
    page.push_str("</table></div>\n</section>\n");
    Ok(())
}

fn section(page: &mut String, i: usize, comparison: &Comparison) -> std::fmt::Result {
    let scenario = &comparison.scenario;
    let (images, work) = comparison
        .rows
        .first()
        .map_or((0.0, 0.0), |row| (row.summary.requests.mean, row.summary.work_hours.mean));
    write!(
        page,
        "<section id=\"scenario-{i}\">\n<h2>{}</h2>\n<p>{}</p>\n\
         <p class=\"soft\">{images:.0} images, {work:.2} hours of work; up to {} instances, {} of them stopped ones that \
         boot in {} s, new ones in {} s; the target is {} s.</p>\n",
        escape(&scenario.name),
        escape(&scenario.about),
        scenario.max_instances,
        scenario.stopped_pool.min(scenario.max_instances),
        scenario.boot.warm,
        scenario.boot.cold,
        scenario.target,
    )?;
    page.push_str("<h3>Cost against p95</h3>\n<div class=\"legend\">");
    for (shape, words) in LEGEND {
        write!(page, "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\">{shape}</svg>{words}</span>")?;
    }
    page.push_str("</div>\n<div class=\"plot scatter\"></div>\n");
    if comparison.rows.iter().any(|row| !row.timeline.is_empty()) {
        page.push_str(
            "<h3>Over time, first seed</h3>\n<div class=\"legend policies\" role=\"group\" \
             aria-label=\"Policies shown\"></div>\n<div class=\"plot over-time\"></div>\n",
        );
    }
    page.push_str("<h3>Numbers</h3>\n<div class=\"scroll\"><table>\n<tr>");
    for (column, title) in HEADER.into_iter().enumerate() {
        write!(page, "<th{}>{}</th>", number(column), sentence_case(title))?;
    }
    page.push_str("</tr>\n");
    for row in printed(comparison) {
        table_row(page, row)?;
    }
    page.push_str("</table></div>\n</section>\n");
    Ok(())
}

/// The plot's shapes, which say what colours cannot.
const LEGEND: [(&str, &str); 4] = [
    (
        "<circle r=\"6\" fill=\"var(--latency)\"/>",
        "ours; the line is <code>latency</code> with other targets",
    ),
    ("<path d=\"M0-7L7 0L0 7L-7 0Z\" fill=\"currentColor\"/>", "a rival as it comes"),
    (
        "<circle r=\"4\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.6\"/>",
        "a rival with other settings",
    ),
    (
        "<path d=\"M-8 0H8\" stroke=\"var(--strong)\" stroke-width=\"5\"/>",
        "nobody is both cheaper and faster",
    ),
];

fn table_row(page: &mut String, row: &Row) -> std::fmt::Result {
    let class = match row.contender.kind {
        Kind::Ours => "ours",
        Kind::Default => "default",
        Kind::Tuned => "tuned",
    };
    write!(page, "<tr class=\"{class}\">")?;
    for (column, cell) in cells(row).iter().enumerate() {
        let dot = if column == 0 {
            format!("<span class=\"dot\" style=\"background:var(--{})\"></span>", row.contender.family)
        } else {
            String::new()
        };
        write!(page, "<td{}>{dot}{}</td>", number(column), escape(cell))?;
    }
    page.push_str("</tr>\n");
    Ok(())
}

fn number(column: usize) -> &'static str {
    if column < WORDS { "" } else { " class=\"number\"" }
}

/// "BEST RIVAL" as "Best rival"; units stay as they are.
fn sentence_case(title: &str) -> String {
    let mut words = title.split(' ').map(|word| {
        let is_unit = word == "USD" || word.ends_with(|last: char| last.is_ascii_digit());
        if word.len() > 1 && !is_unit { word.to_lowercase() } else { word.to_owned() }
    });
    let first = words.next().unwrap_or_default();
    let mut letters = first.chars();
    let mut text: String = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().collect();
    text.extend(letters);
    for word in words {
        text.push(' ');
        text.push_str(&word);
    }
    text
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// JSON inside a script element: nothing in it may end the element or open a comment.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}
