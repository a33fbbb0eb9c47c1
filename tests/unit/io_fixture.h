/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of src/io share: a folder that goes away, certificates, a loop to spin. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>

#include "io/loop.h"
#include "io/tls.h"

struct fixture {
        char folder[64];
        struct gw_loop loop;
        struct gw_tls *nva, *nve; /* one authority; nva may serve, nve may not */
        struct gw_tls *stranger;  /* another authority */
        size_t open_fds;          /* at the beginning */
};

int fixture_setup(void **state);
int fixture_teardown(void **state); /* fails when descriptors were left open */

/* A path in the folder; the result is good until the fourth call after. */
const char *fixture_path(const struct fixture *f, const char *name);
/* Turns the loop until the condition holds; fails the test after ten seconds. */
void fixture_spin(struct fixture *f, bool (*done)(void *user), void *user);
void fixture_spin_until(struct fixture *f, const bool *flag);
void fixture_spin_ms(struct fixture *f, unsigned ms);
size_t fixture_count_fds(void);
