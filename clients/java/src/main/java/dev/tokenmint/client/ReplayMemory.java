package dev.tokenmint.client;

import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;

/** The proofs that were used, until they would be too old. Each process has its own. */
final class ReplayMemory {
    private final int size;
    private final Map<String, Instant> used = new LinkedHashMap<>(); // in the order of their use

    ReplayMemory(int size) {
        if (size < 1) {
            throw new IllegalArgumentException("a replay memory has room for 1 or more");
        }
        this.size = size;
    }

    /**
     * Uses a proof up. Where there is no room, it fails: a forgotten proof could be replayed.
     *
     * @throws VerificationException PROOF_REJECTED where it was used before, UNAVAILABLE where there is no room for it
     */
    synchronized void use(DpopProof proof, Instant now) {
        Instant expiresAt = used.get(proof.replayId());
        if (expiresAt != null && now.isBefore(expiresAt)) {
            throw DpopProof.rejected("was used before: make a new one for each request");
        }
        used.remove(proof.replayId());
        if (used.size() >= size) {
            dropOld(now);
        }
        if (used.size() >= size) {
            throw new VerificationException(
                    VerificationException.UNAVAILABLE, "too many proofs within a minute: none can be remembered");
        }
        used.put(proof.replayId(), proof.expiresAt());
    }

    private void dropOld(Instant now) {
        // A proof expires at most 70 s later, so the old ones are in front.
        var each = used.values().iterator();
        while (each.hasNext() && !now.isBefore(each.next())) {
            each.remove();
        }
    }
}
