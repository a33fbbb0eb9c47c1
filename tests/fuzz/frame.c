/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the decoders of frames. An input is one frame as on the wire; its
 * length is put right, so that the fuzzer gets to the body. What a decoder
 * accepts must survive being encoded and decoded again.
 */
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "wire/digest.h"
#include "wire/frame.h"
#include "wire/mobility.h"

enum { VNIS_MAX = 4096, OUT_SIZE = 1 << 17 };

/* Decodes a body and encodes what was found; 0 when it was refused. */
typedef size_t (*again_fn)(const uint8_t *body, size_t size, struct gw_writer *w);

static size_t again_hello(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_hello hello;

        return gw_hello_decode(body, size, &hello) ? 0 : gw_hello_encode(w, 1, &hello);
}

static size_t again_welcome(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_name nva;
        uint64_t count;

        return gw_welcome_decode(body, size, &nva, &count) ? 0 : gw_welcome_encode(w, 1, &nva, count);
}

static size_t again_register(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_register reg;

        if (gw_register_decode(body, size, &reg))
                return 0;
        must(reg.message_size >= 1 && reg.message_size <= GW_MH_SIZE_MAX);
        must(reg.message >= body && reg.message + reg.message_size <= body + size);
        return gw_register_encode(w, GW_FRAME_REGISTER, 1, &reg);
}

static size_t again_query(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_query query;

        return gw_query_decode(body, size, &query) ? 0 : gw_query_encode(w, 1, &query);
}

static size_t again_flush(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_flush_request flush;

        return gw_flush_decode(body, size, &flush) ? 0 : gw_flush_encode(w, 1, &flush);
}

static size_t again_report(const uint8_t *body, size_t size, struct gw_writer *w) {
        static struct gw_report report;

        return gw_report_decode(body, size, &report) ? 0 : gw_report_encode(w, 1, &report);
}

static size_t again_subscribe(const uint8_t *body, size_t size, struct gw_writer *w) {
        static struct gw_attached attached[VNIS_MAX];
        uint32_t vnis[VNIS_MAX];
        size_t n;

        if (gw_attached_decode(body, size, attached, VNIS_MAX, &n) == 0 && n)
                return gw_attached_encode(w, 1, attached, n);
        return gw_subscribe_decode(body, size, vnis, VNIS_MAX, &n) ? 0 : gw_subscribe_encode(w, 1, vnis, n);
}

static size_t again_bye(const uint8_t *body, size_t size, struct gw_writer *w) {
        char reason[200];

        return gw_bye_decode(body, size, reason, sizeof reason) ? 0 : gw_bye_encode(w, reason);
}

/* One element at a time into the first that is there: enough to see that it comes back. */
static size_t again_batch(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_batch batch = gw_batch_open(body, size);
        struct gw_mapping mapping;
        struct gw_member member;
        size_t n = 0;

        for (;;)
                switch (gw_batch_next(&batch, &mapping, &member)) {
                case GW_BATCH_MAPPING:
                        w->at = 0;
                        n = gw_batch_encode(w, GW_FRAME_UPDATE, 1, &mapping, 1, NULL, 0);
                        must(n);
                        break;
                case GW_BATCH_MEMBER:
                        w->at = 0;
                        n = gw_batch_encode(w, GW_FRAME_UPDATE, 1, NULL, 0, &member, 1);
                        must(n);
                        break;
                case GW_BATCH_VN:
                        w->at = 0;
                        n = gw_batch_encode_vns(w, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &batch.vn, 1);
                        must(n);
                        break;
                case GW_BATCH_BAD:
                        must(gw_batch_next(&batch, &mapping, &member) == GW_BATCH_BAD);
                        return 0;
                default:
                        return n;
                }
}

static size_t again_digest(const uint8_t *body, size_t size, struct gw_writer *w) {
        static struct gw_digest digest;

        return gw_digest_decode(body, size, &digest) ? 0 : gw_digest_encode(w, 1, &digest);
}

static size_t again_held(const uint8_t *body, size_t size, struct gw_writer *w) {
        static struct gw_held held;

        return gw_held_decode(body, size, &held) ? 0 : gw_held_encode(w, 1, &held);
}

static size_t again_agreed(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_agreed agreed;

        if (gw_agreed_decode(body, size, &agreed))
                return 0;
        must(!gw_agreed_bit(&agreed, agreed.n_octets * 8));
        return gw_agreed_encode(w, 1, &agreed);
}

static size_t again_absence(const uint8_t *body, size_t size, struct gw_writer *w) {
        struct gw_absence absence;

        return gw_absence_decode(body, size, &absence) ? 0 : gw_absence_encode(w, 1, &absence);
}

static const again_fn again[] = {
        [GW_FRAME_HELLO] = again_hello,       [GW_FRAME_WELCOME] = again_welcome,
        [GW_FRAME_REGISTER] = again_register, [GW_FRAME_REGISTERED] = again_register,
        [GW_FRAME_QUERY] = again_query,       [GW_FRAME_RESPONSE] = again_batch,
        [GW_FRAME_UPDATE] = again_batch,      [GW_FRAME_FLUSH] = again_flush,
        [GW_FRAME_REPORT] = again_report,     [GW_FRAME_SUBSCRIBE] = again_subscribe,
        [GW_FRAME_BYE] = again_bye,           [GW_FRAME_DIGEST] = again_digest,
        [GW_FRAME_HELD] = again_held,         [GW_FRAME_AGREED] = again_agreed,
        [GW_FRAME_ABSENCE] = again_absence,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static uint8_t first[OUT_SIZE], second[OUT_SIZE];
        struct gw_writer a = gw_writer(first, sizeof first), b = gw_writer(second, sizeof second);
        struct gw_frame_header header;
        uint8_t type;
        size_t n;

        if (gw_frame_header_decode(data, size, &header) == 0)
                must(header.length >= GW_FRAME_HEADER_SIZE && header.length <= GW_FRAME_MAX);
        if (size < GW_FRAME_HEADER_SIZE || size > OUT_SIZE / 2)
                return 0;
        type = data[5];
        if (type >= sizeof again / sizeof *again || !again[type])
                return 0;
        n = again[type](data + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE, &a);
        if (!n)
                return 0;
        must(gw_frame_header_decode(first, n, &header) == 0 && header.length == n);
        must(again[type](first + GW_FRAME_HEADER_SIZE, n - GW_FRAME_HEADER_SIZE, &b) == n);
        must(memcmp(first, second, n) == 0);
        return 0;
}
