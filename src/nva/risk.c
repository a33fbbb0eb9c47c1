/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a move may lose, by its mode, in words: said before, so that nobody has to
 * have read the documentation of QEMU. Said of what is in nobody's hands any more;
 * what is taken back when it fails is not a loss.
 */
#include "nva/risk.h"

#include <stdio.h>

static const struct gw_vn *unkind_vn(const struct gw_vm *vm) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (gw_port_vn(port)->settings.flags & (GW_VN_ABSENT_DROP | GW_VN_ABSENT_ANSWER))
                        return gw_port_vn(port);
        return NULL;
}

void mover_risk(const struct gw_vm *vm, enum gw_move_mode mode, enum gw_move_as as, char out[static MOVER_RISK_MAX]) {
        const struct gw_vn *vn = unkind_vn(vm);

        out[0] = '\0';
        if (as != GW_MOVE_AS_RUNNING)
                return;
        if (mode == GW_MOVE_POST_COPY)
                snprintf(out, MOVER_RISK_MAX,
                         "the VM, if either host or emulator ends after the switch and before all of its memory is "
                         "there");
        else if (mode == GW_MOVE_COLD && vn)
                snprintf(out, MOVER_RISK_MAX, "packets sent to it while it stands still: VN %s does not let them wait",
                         vn->id.s);
        else if (mode == GW_MOVE_COLD)
                snprintf(out, MOVER_RISK_MAX, "packets sent to it while it stands still, beyond the queue of its host");
}
