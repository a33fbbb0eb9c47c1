/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ways of copying go together is QEMU's matter (7.2): it sends whole pages
 * over several connections, so differences of pages have no place there, and it
 * cannot ask for a page by name over several connections, as post-copy does.
 * Both would be taken without a word and not work; they are refused here.
 */
#include "hypervisor/options.h"

#include "io/api.h"

void gw_copy_options_read(struct gw_json_reader *r, struct gw_copy_options *out) {
        struct gw_copy_options o = {
                .cold = gw_json_bool(r, "cold", 0),
                .post_copy = gw_json_bool(r, "post_copy", 0),
                .xbzrle = gw_json_bool(r, "xbzrle", 0),
                .auto_converge = gw_json_bool(r, "auto_converge", 0),
                .multifd = (unsigned)gw_json_int(r, "multifd", 0, GW_COPY_MULTIFD_MAX, 0),
        };

        if (!gw_json_failed(r) && o.multifd && o.xbzrle)
                gw_json_fault(r, "multifd", "multifd is %u and xbzrle is on; only one of them can be used", o.multifd);
        if (!gw_json_failed(r) && o.multifd && o.post_copy)
                gw_json_fault(r, "multifd", "multifd is %u; post-copy uses one connection", o.multifd);
        if (!gw_json_failed(r) && o.cold && o.post_copy)
                gw_json_fault(r, "cold", "cold and post_copy are on; only one of them can be used");
        if (!gw_json_failed(r))
                *out = o;
}

json_t *gw_copy_options_encode(const struct gw_copy_options *options) {
        json_t *object = json_object();

        if (options->cold)
                json_object_set_new(object, "cold", json_true());
        if (options->post_copy)
                json_object_set_new(object, "post_copy", json_true());
        if (options->xbzrle)
                json_object_set_new(object, "xbzrle", json_true());
        if (options->auto_converge)
                json_object_set_new(object, "auto_converge", json_true());
        if (options->multifd)
                json_object_set_new(object, "multifd", json_integer(options->multifd));
        return object;
}
