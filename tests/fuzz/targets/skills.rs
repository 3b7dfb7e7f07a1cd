//! The text of a skill file, alone and in place of each of the project's own.
#![no_main]

use fuzz::OUR_SKILLS;
use libfuzzer_sys::fuzz_target;
use skill::Source;

fuzz_target!(|text: &str| {
    let given = Source { path: "given".into(), text: text.into() };
    let Err(faults) = skill::check(std::slice::from_ref(&given)) else {
        // Sound by itself: then it is read twice alike, and nothing but its company can be wrong.
        let skills = skill::skills(std::slice::from_ref(&given)).expect("it was sound");
        assert_eq!(skills.len(), 1);
        let place = text.len() % OUR_SKILLS.len();
        let mut sources =
            OUR_SKILLS.map(|(path, text)| Source { path: path.into(), text: text.into() });
        sources[place] = given;
        let _together = skill::check(&sources);
        return;
    };
    let shown = faults.to_string();
    assert!(!shown.trim().is_empty(), "a refusal without a reason");
    let again = skill::check(&[given]).expect_err("it was refused");
    assert_eq!(again.to_string(), shown, "the same text, another refusal");
});
