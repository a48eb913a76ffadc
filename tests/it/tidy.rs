//! Tidy: rules about the source tree that no compiler checks, each a pure function over paths and texts.
//!
//! A rule takes a file (or the whole tree) and returns what is wrong with it as lines of text; the tests at the end of
//! this file run every rule over the repository, and each rule's own file shows it a bad and a good input.

mod code;
mod findings;
mod layering;
mod shape;
mod toolchain;
mod tree;

use tree::File;

/// What is wrong, one line a finding: `path:line: what; what to do`.
type Problems = Vec<String>;

#[track_caller]
fn assert_tidy(problems: &Problems) {
    assert!(problems.is_empty(), "{} untidy places:\n{}", problems.len(), problems.join("\n"));
}

/// Runs `rule` over every file of the repository.
#[track_caller]
fn assert_every_file(rule: fn(&File) -> Problems) {
    assert_tidy(&tree::repository().iter().flat_map(rule).collect());
}

#[test]
fn every_source_file_says_in_one_sentence_what_it_is() {
    assert_every_file(shape::header);
}

#[test]
fn no_source_file_is_longer_than_600_lines() {
    assert_every_file(shape::length);
}

#[test]
fn nothing_is_left_to_do() {
    assert_every_file(shape::leftovers);
}

#[test]
fn no_test_is_ignored() {
    assert_every_file(shape::ignored_tests);
}

#[test]
fn no_test_sleeps() {
    assert_every_file(shape::sleeping_tests);
}

#[test]
fn nothing_depends_on_the_machine_it_was_written_on() {
    assert_every_file(shape::machine_paths);
    assert_every_file(shape::private_hosts);
}

#[test]
fn no_module_is_a_mod_rs() {
    assert_every_file(shape::module_names);
}

#[test]
fn modules_import_only_what_lies_below_them() {
    assert_every_file(layering::imports);
}

#[test]
fn every_module_has_its_row_in_the_table_of_layers() {
    assert_tidy(&layering::unlisted(&tree::repository()));
}

#[test]
fn the_engine_knows_no_clock_no_file_and_no_network() {
    assert_every_file(layering::engine_is_pure);
}

#[test]
fn a_crate_with_an_owner_is_named_by_its_owner_alone() {
    assert_every_file(layering::owned_crates);
}

#[test]
fn the_image_is_built_by_the_compiler_of_the_toolchain() {
    let files = tree::repository();
    let [toolchain, dockerfile] = ["rust-toolchain.toml", "Dockerfile"].map(|path| tree::text_of(&files, path));
    assert_tidy(&toolchain::one_compiler(toolchain, dockerfile));
}

#[test]
fn every_finding_is_unique_documented_and_covered_both_ways() {
    let codes: Vec<_> = tagwarden::policy::FindingId::ALL.iter().map(|id| id.code()).collect();
    let files = tree::repository();
    assert_tidy(&findings::unique(&codes));
    assert_tidy(&findings::documented(&codes, "docs/findings.md", tree::text_of(&files, "docs/findings.md")));
    assert_tidy(&findings::covered(&codes, &findings::cases(&files)));
}

#[test]
fn every_code_of_lint_is_unique_and_documented() {
    let codes: Vec<_> = tagwarden::policy::LintCode::ALL.iter().map(|code| code.code()).collect();
    assert!(codes.is_sorted());
    assert_tidy(&findings::unique(&codes));
    assert_tidy(&findings::documented(&codes, "docs/lint.md", tree::text_of(&tree::repository(), "docs/lint.md")));
}
