/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large pieces of memory, straight from the system: zeroed, counted only where they are touched, and given back whole.
 *
 * What is large and entered at random asks for huge pages, since each page needs a place in the processor's table of pages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { GW_PAGES_HUGE = 2 << 20 };

/* Aligned to `align`, a power of two and at least a page's size. Not backed: addresses alone, until gw_pages_back.
 * NULL: there is no memory. */
void *gw_pages_new(size_t octets, size_t align, bool backed);
int gw_pages_back(void *at, size_t octets); /* whole pages, of gw_pages_new's; -ENOMEM */
void gw_pages_free(void *pages, size_t octets);
