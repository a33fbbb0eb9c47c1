/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs, loaded for tests that run them frame by frame (BPF_PROG_TEST_RUN): on no
 * device, pinned nowhere, telling what they decided (gw_trace). One set for each test
 * program. Include it after cmocka.h.
 */
#pragma once

#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "datapath/godwit.skel.h"

static struct godwit_bpf *bpf;

static inline void programs_load(void) {
        struct bpf_map *map;

        bpf = godwit_bpf__open();
        assert_non_null(bpf);
        bpf_object__for_each_map(map, bpf->obj) bpf_map__set_pin_path(map, NULL);
        bpf->rodata->gw_test = 1;
        assert_int_equal(godwit_bpf__load(bpf), 0);
}

static inline int unload(void **state) {
        (void)state;
        godwit_bpf__destroy(bpf);
        return 0;
}

static inline void put(struct bpf_map *map, const void *key, const void *value) {
        assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

/* Says so when it is not. */
static inline bool programs_possible(void) {
        if (geteuid() != 0)
                printf("1..0 # SKIP needs root\n");
        return geteuid() == 0;
}
