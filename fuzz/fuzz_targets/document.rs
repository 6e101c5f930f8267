#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ograph_dispatcher_fuzz::document(bytes));
