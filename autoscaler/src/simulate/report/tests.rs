//! The report as a whole: every scenario in it, and nothing of a name's text as markup.

use std::num::NonZeroU64;

use super::{
    super::{Arrivals, Comparison, Contender, Extent, Progress, Scenario, compare},
    Report, page, table_csv, timeline_csv,
};

struct Nobody;

impl Progress for Nobody {
    fn planned(&self, _: u64) {}
    fn done(&self) {}
}

fn comparison(name: &str, tuned: bool) -> Comparison {
    let arrivals = Arrivals::Burst { count: 20, within: 1.0 };
    let scenario = Scenario::new(name, "a few images & <nothing> else", arrivals);
    let contenders: Vec<Contender> =
        ["latency", "course"].into_iter().filter_map(|name| Contender::named(name, 60.0)).flatten().collect();
    let seeds = NonZeroU64::MIN.saturating_add(1);
    compare(&scenario, &contenders, Extent { seeds, tuned }, &Nobody)
}

#[test]
fn page_has_every_scenario_and_needs_nothing_from_outside() {
    let names = ["one", "other"];
    let comparisons = names.map(|name| comparison(name, false)).to_vec();
    let page = page(&Report::new(comparisons, 2, &[])).unwrap();
    for name in names {
        assert!(page.contains(&format!("<h2>{name}</h2>")), "{name}");
        assert!(page.contains(&format!("\"name\":\"{name}\"")), "{name}");
    }
    let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "@import", "url(", "<link", "<img", "src="] {
        assert!(!without_namespace.contains(outside), "{outside}");
    }
}

#[test]
fn names_stay_text_in_page_and_files() {
    let evil = "</script><b>\"x\", y";
    let report = Report::new(vec![comparison(evil, false)], 2, &[]);
    let page = page(&report).unwrap();
    assert!(!page.contains("<b>"), "as markup");
    assert!(page.contains("&lt;/script&gt;&lt;b&gt;&quot;x&quot;, y"), "in the page");
    assert!(page.contains("\\u003c/script>\\u003cb>"), "in the data");
    assert_eq!(page.matches("</script>").count(), 2);
    let quoted = "\"</script><b>\"\"x\"\", y\",";
    assert!(table_csv(&report).lines().nth(1).unwrap().starts_with(quoted));
    assert!(timeline_csv(&report).lines().nth(1).unwrap().starts_with(quoted));
}

#[test]
fn files_have_a_field_for_each_title() {
    let report = Report::new(vec![comparison("plain", true)], 2, &[]);
    for text in [table_csv(&report), timeline_csv(&report)] {
        // Settings have commas in quotes.
        let fields =
            |line: &str| line.split('"').step_by(2).map(|part| part.matches(',').count()).sum::<usize>();
        let mut lines = text.lines();
        let titles = fields(lines.next().unwrap());
        let mut count = 0;
        for line in lines {
            assert_eq!(fields(line), titles, "{line}");
            count += 1;
        }
        assert!(count > 20, "{count} lines");
    }
}

#[test]
fn tuning_adds_rivals_and_targets_and_names_the_best() {
    let tuned = comparison("plain", true);
    assert_eq!(tuned.asked, 2);
    assert!(tuned.rows.len() > 90, "{}", tuned.rows.len());
    let best = tuned.best_rival(tuned.scenario.target).unwrap();
    assert!(best.summary.p95.mean <= tuned.scenario.target);
    let cheaper = |row: &&super::super::Row| {
        !row.contender.is_ours()
            && row.summary.p95.mean <= tuned.scenario.target
            && row.summary.instance_hours.mean < best.summary.instance_hours.mean
    };
    assert_eq!(tuned.rows.iter().filter(cheaper).count(), 0);
    assert!(tuned.frontier().contains(&true));
    assert_eq!(comparison("plain", true).rows.len(), tuned.rows.len());
}
