//! The C code that OCaml programs link: which package brings which file with which functions and tables.

/// A C source file.
pub(crate) struct File {
    /// The opam package it comes from; `ocaml-runtime` for the compiler's own.
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
    functions: &'static str,
    /// Constant tables, each with its size in bytes.
    pub(crate) tables: &'static [(&'static str, u64)],
}

impl File {
    pub(crate) fn functions(&self) -> impl Iterator<Item = &'static str> {
        self.functions.split_whitespace()
    }
}

const fn file(
    package: &'static str,
    name: &'static str,
    functions: &'static str,
    tables: &'static [(&'static str, u64)],
) -> File {
    File {
        package,
        name,
        functions,
        tables,
    }
}

/// Solo5's bindings and what stands in for a C library there; linked into unikernels only.
#[rustfmt::skip]
pub(crate) static SANDBOX: &[File] = &[
    file("solo5", "start.c", "_start _start2 crt_init_ssp platform_init platform_exit platform_puts", &[]),
    file("solo5", "abort.c", "_abort _assert_fail solo5_abort solo5_exit", &[]),
    file("solo5", "mem.c", "mem_init mem_ialloc_pages mem_lock_heap", &[]),
    file("solo5", "net.c", "net_init solo5_net_acquire solo5_net_read solo5_net_write handle_get_mtu", &[]),
    file("solo5", "block.c", "block_init solo5_block_acquire solo5_block_read solo5_block_write", &[]),
    file("solo5", "time.c", "time_init solo5_clock_monotonic solo5_clock_wall solo5_yield tscclock_init tscclock_epochoffset", &[]),
    file("solo5", "printf.c", "vsnprintf snprintf format_number put_padded", &[("lower_digits", 16)]),
    file("solo5", "log.c", "log log_set_level", &[]),
    file("solo5", "cmdline.c", "cmdline_parse isspace_ strlen_", &[]),
    file("ocaml-solo5", "dlmalloc.c", "dlmalloc dlfree dlrealloc dlcalloc dlmemalign sys_alloc sys_trim tmalloc_large tmalloc_small dispose_chunk internal_memalign prepend_alloc add_segment", &[]),
    file("ocaml-solo5", "nolibc.c", "malloc free calloc realloc memcpy memmove memset memcmp memchr strlen strcmp strncmp strchr strrchr strtol strtod printf fprintf puts exit abort getenv qsort", &[("_ctype_", 384)]),
    file("ocaml-solo5", "openlibm.c", "acos asin atan atan2 cbrt ceil cos cosh exp expm1 floor fmod hypot ldexp log10 log1p modf pow sin sinh sqrt tan tanh __ieee754_rem_pio2 __kernel_cos __kernel_sin __kernel_tan __kernel_rem_pio2 scalbn", &[("two_over_pi", 264), ("PIo2", 64), ("atanhi", 32), ("exp2_tbl", 2048)]),
];

/// The OCaml runtime, linked into every program.
#[rustfmt::skip]
pub(crate) static RUNTIME: &[File] = &[
    file("ocaml-runtime", "array.c", "caml_array_get caml_array_set caml_make_vect caml_array_blit caml_array_append caml_array_concat caml_array_fill caml_array_sub caml_floatarray_create", &[]),
    file("ocaml-runtime", "alloc.c", "caml_alloc caml_alloc_small caml_alloc_string caml_alloc_tuple caml_copy_string caml_alloc_array caml_alloc_dummy caml_update_dummy", &[]),
    file("ocaml-runtime", "bigarray.c", "caml_ba_alloc caml_ba_create caml_ba_get_1 caml_ba_set_1 caml_ba_blit caml_ba_fill caml_ba_sub caml_ba_reshape caml_ba_hash caml_ba_serialize caml_ba_deserialize", &[("caml_ba_element_size", 112)]),
    file("ocaml-runtime", "compare.c", "caml_compare caml_equal caml_lessthan caml_greaterequal compare_val do_compare_val compare_init_stack", &[]),
    file("ocaml-runtime", "extern.c", "caml_output_value caml_output_value_to_bytes extern_rec extern_lookup_position extern_record_location caml_serialize_int_8 caml_serialize_block_1", &[]),
    file("ocaml-runtime", "intern.c", "caml_input_val caml_input_value_from_bytes intern_rec intern_alloc_storage caml_deserialize_uint_1 caml_deserialize_block_1", &[]),
    file("ocaml-runtime", "floats.c", "caml_format_float caml_float_of_string caml_float_compare caml_fma caml_hexstring_of_float caml_classify_float", &[]),
    file("ocaml-runtime", "hash.c", "caml_hash caml_hash_mix_uint32 caml_hash_mix_string caml_hash_mix_double", &[]),
    file("ocaml-runtime", "ints.c", "caml_format_int caml_int_of_string caml_int32_add caml_int64_mul caml_int64_format caml_nativeint_div parse_sign_and_base", &[]),
    file("ocaml-runtime", "lexing.c", "caml_lex_engine caml_new_lex_engine run_mem run_tag", &[]),
    file("ocaml-runtime", "major_gc.c", "caml_major_collection_slice caml_darken mark_slice sweep_slice start_cycle caml_init_major_heap mark_stack_push redarken_first", &[]),
    file("ocaml-runtime", "minor_gc.c", "caml_minor_collection caml_oldify_one caml_oldify_mopup caml_alloc_small_dispatch caml_set_minor_heap_wsz realloc_generic_table", &[]),
    file("ocaml-runtime", "memory.c", "caml_alloc_shr caml_modify caml_initialize caml_stat_alloc caml_stat_free caml_stat_resize expand_heap", &[]),
    file("ocaml-runtime", "obj.c", "caml_obj_tag caml_obj_block caml_obj_dup caml_get_public_method caml_lazy_make_forward", &[]),
    file("ocaml-runtime", "printexc.c", "caml_format_exception caml_fatal_uncaught_exception default_fatal_uncaught_exception", &[]),
    file("ocaml-runtime", "str.c", "caml_string_get16 caml_string_get32 caml_string_compare caml_blit_string caml_fill_bytes caml_bytes_equal caml_create_bytes", &[]),
    file("ocaml-runtime", "backtrace_nat.c", "caml_next_frame_descriptor caml_stash_backtrace caml_debuginfo_extract get_callstack", &[]),
    file("ocaml-runtime", "startup_nat.c", "caml_main caml_start_program caml_init_atom_table init_static caml_parse_ocamlrunparam", &[]),
    file("ocaml-runtime", "weak.c", "caml_weak_create caml_ephe_get_key caml_ephe_set_data caml_ephe_clean do_check_key_clean", &[]),
];

/// C stubs of libraries, linked with the package that brings them.
#[rustfmt::skip]
pub(crate) static STUBS: &[File] = &[
    file("mirage-solo5", "mm_stubs.c", "stub_malloc_info stub_heap_get_pages_total stub_heap_get_pages_used", &[]),
    file("mirage-net-solo5", "netif_stubs.c", "mirage_solo5_net_acquire mirage_solo5_net_read_3 mirage_solo5_net_write_3", &[]),
    file("mirage-block-solo5", "block_stubs.c", "mirage_solo5_block_acquire mirage_solo5_block_read_3 mirage_solo5_block_write_3", &[]),
    file("bigstringaf", "bigstringaf_stubs.c", "bigstringaf_blit_to_bytes bigstringaf_blit_from_bytes bigstringaf_memcmp_bigstring bigstringaf_memchr", &[]),
    file("cstruct", "cstruct_stubs.c", "caml_blit_bigstring_to_bigstring caml_blit_string_to_bigstring caml_fill_bigstring caml_compare_bigstring caml_check_alignment_bigstring", &[]),
    file("tcpip", "checksum_stubs.c", "caml_tcpip_ones_complement_checksum caml_tcpip_ones_complement_checksum_list ones_complement_checksum_bigarray", &[]),
    file("digestif", "sha256.c", "digestif_sha256_init digestif_sha256_update digestif_sha256_finalize sha256_do_chunk caml_digestif_sha256_ba_update", &[("k256", 256)]),
    file("digestif", "sha512.c", "digestif_sha512_init digestif_sha512_update digestif_sha512_finalize sha512_do_chunk", &[("k512", 640)]),
    file("digestif", "sha1.c", "digestif_sha1_init digestif_sha1_update digestif_sha1_finalize sha1_do_chunk", &[]),
    file("digestif", "blake2b.c", "digestif_blake2b_init digestif_blake2b_update digestif_blake2b_finalize blake2b_compress", &[("blake2b_sigma", 192), ("blake2b_IV", 64)]),
    file("mirage-crypto", "aes_generic.c", "mc_aes_enc_generic mc_aes_dec_generic mc_aes_derive_e_key_generic mc_aes_derive_d_key_generic _mc_aes_enc_blocks", &[("Te0", 1024), ("Te1", 1024), ("Te2", 1024), ("Te3", 1024), ("Td0", 1024), ("Td1", 1024), ("Td2", 1024), ("Td3", 1024), ("Td4", 256)]),
    file("mirage-crypto", "aes_aesni.c", "mc_aes_enc mc_aes_dec mc_aes_derive_e_key mc_aes_derive_d_key _mc_aesni_derive_e_key _mc_aesni_enc8", &[]),
    file("mirage-crypto", "ghash_pclmul.c", "mc_ghash mc_ghash_init_key mc_ghash_key_size __ghash __derive", &[]),
    file("mirage-crypto", "chacha.c", "mc_chacha_round mc_chacha_quarterround mc_xor_into_bytes mc_count_16_be mc_count_8_be", &[]),
    file("mirage-crypto", "poly1305-donna.c", "mc_poly1305_init mc_poly1305_update mc_poly1305_finalize poly1305_blocks", &[]),
    file("mirage-crypto", "des_generic.c", "mc_des_ddes mc_des_des3key desfunc cookey", &[("SP1", 256), ("SP2", 256), ("SP3", 256), ("SP4", 256)]),
    file("mirage-crypto-ec", "p256_stubs.c", "mc_p256_point_add mc_p256_point_double mc_p256_scalar_mult_base mc_p256_inv fiat_p256_mul fiat_p256_square fiat_p256_add fiat_p256_sub fiat_p256_to_montgomery fiat_p256_from_montgomery mc_np256_mul mc_np256_inv", &[("p256_generator_table", 16384)]),
    file("mirage-crypto-ec", "p384_stubs.c", "mc_p384_point_add mc_p384_point_double mc_p384_scalar_mult_base mc_p384_inv fiat_p384_mul fiat_p384_square fiat_p384_add fiat_p384_sub mc_np384_mul mc_np384_inv", &[("p384_generator_table", 24576)]),
    file("mirage-crypto-ec", "p521_stubs.c", "mc_p521_point_add mc_p521_point_double mc_p521_inv fiat_p521_carry_mul fiat_p521_carry_square fiat_p521_add mc_np521_mul", &[("p521_generator_table", 20480)]),
    file("mirage-crypto-ec", "curve25519_stubs.c", "mc_x25519_scalar_mult_generic mc_25519_double_scalar_mult mc_25519_reduce_l x25519_ge_add x25519_ge_sub ge_double_scalarmult_vartime fe_loose_invert fe_mul_ttt fe_sq_tt", &[("k25519Precomp", 24576), ("Bi", 960)]),
    file("mirage-crypto-rng", "rng_stubs.c", "mc_cycle_counter mc_cpu_rdrand mc_cpu_rdseed mc_entropy_detect mc_cpu_rng_type", &[]),
    file("zarith", "caml_z.c", "ml_z_add ml_z_sub ml_z_mul ml_z_div ml_z_rem ml_z_div_rem ml_z_powm ml_z_powm_sec ml_z_gcd ml_z_invert ml_z_shift_left ml_z_shift_right_trunc ml_z_of_substring_base ml_z_format ml_z_sqrt ml_z_probab_prime ml_z_compare ml_z_extract ml_z_to_bits ml_z_of_bits ml_z_custom_serialize", &[("ml_z_digits", 256)]),
    file("zarith", "mpn.c", "__gmpn_add_n __gmpn_sub_n __gmpn_mul_1 __gmpn_addmul_1 __gmpn_submul_1 __gmpn_mul_basecase __gmpn_sqr_basecase __gmpn_toom22_mul __gmpn_toom33_mul __gmpn_toom44_mul __gmpn_tdiv_qr __gmpn_divrem_1 __gmpn_dcpi1_div_qr __gmpn_sbpi1_div_qr __gmpn_powm __gmpn_sec_powm __gmpn_redc_1 __gmpn_redc_2 __gmpn_gcd __gmpn_gcdext_lehmer_n __gmpn_hgcd2 __gmpn_lshift __gmpn_rshift __gmpn_get_str __gmpn_set_str __gmpn_sqrtrem __gmpn_invertappr __gmpn_mu_div_qr", &[("__gmpn_bases", 10280), ("__gmp_digit_value_tab", 480), ("mp_bases", 2056)]),
    file("zarith", "mpz.c", "__gmpz_init __gmpz_clear __gmpz_realloc __gmpz_set __gmpz_mul __gmpz_powm __gmpz_powm_sec __gmpz_tdiv_qr __gmpz_gcd __gmpz_gcdext __gmpz_invert __gmpz_probab_prime_p __gmpz_millerrabin __gmpz_import __gmpz_export __gmpz_get_str __gmpz_sizeinbase", &[("primes", 668)]),
    file("checkseum", "crc32.c", "checkseum_crc32_digest checkseum_crc32_slice8 checkseum_crc24_digest checkseum_adler32_digest", &[("crc32_tables", 8192), ("crc24_table", 1024)]),
    file("llvm-lite", "llvm_lite_stubs.cpp", "llvm_lite_create_context llvm_lite_dispose_context llvm_lite_build_add llvm_lite_build_call llvm_lite_build_load llvm_lite_build_store llvm_lite_const_int llvm_lite_function_type llvm_lite_print_module llvm_lite_verify_module llvm_lite_run_passes llvm_lite_write_bitcode", &[("llvm_lite_opcode_names", 4096)]),
];

/// What is linked beside the OCaml code of a program on a system: a part of the C library.
#[rustfmt::skip]
pub(crate) static SYSTEM: &[File] = &[
    file("ocaml-runtime", "unix.c", "caml_unix_read caml_unix_write caml_unix_open caml_unix_close caml_unix_socket caml_unix_connect caml_unix_accept caml_unix_bind caml_unix_select caml_unix_fork caml_unix_execve caml_unix_getaddrinfo caml_unix_stat caml_unix_error", &[("socket_domain_table", 32), ("error_table", 544)]),
    file("ocaml-runtime", "signals_nat.c", "caml_garbage_collection segv_handler caml_init_nat_signals caml_execute_signal_exn", &[]),
];
