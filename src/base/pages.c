/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system aligns to pages. For more, so much is asked for that an aligned piece must be in it, and the rest is given
 * back. Addresses alone cost nothing, not even where the system promises no more memory than it has
 * (vm.overcommit_memory 2): they are mapped without access.
 *
 * Huge pages are a hint: where there are none all is as it was. They are asked for whole, aligned ones only, so that
 * the end of a piece takes no more than it has.
 */
#include "base/pages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

static void hint_huge(void *at, size_t octets) {
        uintptr_t begin = ((uintptr_t)at + GW_PAGES_HUGE - 1) & ~(uintptr_t)(GW_PAGES_HUGE - 1);
        uintptr_t end = ((uintptr_t)at + octets) & ~(uintptr_t)(GW_PAGES_HUGE - 1);

        if (begin < end)
                madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

void *gw_pages_new(size_t octets, size_t align, bool backed) {
        int access = backed ? PROT_READ | PROT_WRITE : PROT_NONE;
        char *all = mmap(NULL, octets + align, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        size_t before;

        if (all == MAP_FAILED)
                return NULL;
        before = -(uintptr_t)all & (align - 1);
        if (before)
                munmap(all, before);
        munmap(all + before + octets, align - before);
        if (backed)
                hint_huge(all + before, octets);
        return all + before;
}

int gw_pages_back(void *at, size_t octets) {
        if (mprotect(at, octets, PROT_READ | PROT_WRITE) < 0)
                return -ENOMEM;
        hint_huge(at, octets);
        return 0;
}

void gw_pages_free(void *pages, size_t octets) {
        if (pages)
                munmap(pages, octets);
}
