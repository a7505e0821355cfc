#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollstore_tests::replay::mask(bytes));
