package dev.tokenmint.client;

import java.io.ByteArrayOutputStream;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** The statuses of a list (Token Status List, draft 20, section 4). */
final class StatusList {
    static final int MAX_SIZE = 1 << 20; // bytes, unpacked
    private static final int CHUNK = 1 << 13;
    private static final Set<Long> BITS = Set.of(1L, 2L, 4L, 8L);
    private static final String NOT_PACKED = "its lst is not compressed as the draft says";

    private final int bits;
    private final byte[] statuses;

    private StatusList(int bits, byte[] statuses) {
        this.bits = bits;
        this.statuses = statuses;
    }

    /** Returns the list in a claim {@code status_list} (section 4.2). */
    static StatusList read(Object claim) throws FetchFailure {
        if (!(claim instanceof Map<?, ?> members)) {
            throw new FetchFailure("it has no status_list");
        }
        if (!(members.get("bits") instanceof Long bits) || !BITS.contains(bits) || !(members.get("lst") instanceof String lst)) {
            throw new FetchFailure("its status_list has no bits or no lst");
        }
        return new StatusList(bits.intValue(), unpacked(lst));
    }

    private static byte[] unpacked(String lst) throws FetchFailure {
        var inflater = new Inflater();
        try {
            inflater.setInput(Base64.getUrlDecoder().decode(lst));
            var statuses = new ByteArrayOutputStream();
            byte[] chunk = new byte[CHUNK];
            while (!inflater.finished()) {
                int length = inflater.inflate(chunk);
                if (length == 0 && !inflater.finished()) { // it is cut off, or needs a dictionary
                    throw new FetchFailure(NOT_PACKED);
                }
                statuses.write(chunk, 0, length);
                if (statuses.size() > MAX_SIZE) {
                    throw new FetchFailure("its lst has more than " + MAX_SIZE + " bytes");
                }
            }
            if (inflater.getRemaining() > 0) {
                throw new FetchFailure("its lst has something behind it");
            }
            return statuses.toByteArray();
        } catch (IllegalArgumentException | DataFormatException other) {
            throw new FetchFailure(NOT_PACKED);
        } finally {
            inflater.end();
        }
    }

    /** Returns the status at an index (section 4.1), or -1 where the list does not have it. */
    int at(long index) {
        if (index < 0 || index >= statuses.length * 8L / bits) {
            return -1;
        }
        long place = index * bits;
        return statuses[(int) (place / 8)] >> place % 8 & (1 << bits) - 1;
    }

    /** Returns its length in bytes. */
    int size() {
        return statuses.length;
    }
}
