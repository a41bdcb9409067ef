package dev.tokenmint.client;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;

/**
 * Tells whether a token was revoked, for services that can't keep a stream open (Token Status List, draft 20). It fetches the
 * list that a token names, verifies it, keeps it, and looks the token up. Verifiers of one issuer may share it. Safe for
 * concurrent use; there is nothing to close.
 */
public final class StatusLists {
    static final String TYPE = "statuslist+jwt";
    static final int MAX_LENGTH = 1 << 20; // characters of a list as it is sent
    static final int MAX_LISTS = 1000;
    static final int MAX_SIZE = 64 << 20; // bytes of all lists

    private static final String PATH = "/status-lists/";
    private static final Duration COOLDOWN = Duration.ofSeconds(10); // after a list that can't be had, or is not newer
    private static final double DEFAULT_TTL = 300; // seconds that a list without `ttl` is kept
    private static final double MIN_TTL = 1;
    private static final double MAX_TTL = 3600;
    private static final int MAX_URI = 1024; // characters
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_-]{1,64}");
    private static final System.Logger LOG = System.getLogger("dev.tokenmint.client");

    /** A list as it was last fetched, and the times that belong to it. */
    private record State(
            StatusList list, // or null
            String etag,
            Instant issued,
            Instant expires,
            Duration ttl,
            Instant fresh, // until then
            Instant asked, // or null
            String cause) {
        boolean isDue(Instant now) {
            Duration wait = !ttl.isZero() && ttl.compareTo(COOLDOWN) < 0 ? ttl : COOLDOWN;
            boolean waits = asked != null && !now.isBefore(asked) && now.isBefore(asked.plus(wait));
            return !now.isBefore(fresh) && !waits;
        }

        State unchanged(Instant now) {
            return new State(list, etag, issued, expires, ttl, now.plus(ttl), now, cause);
        }

        State failed(Instant at, String why) {
            return new State(list, etag, issued, expires, ttl, fresh, at, why);
        }
    }

    private static final State NONE = new State(
            null, "", Instant.MIN, Instant.MIN, Duration.ZERO, Instant.MIN, null, "it has not been fetched yet");

    private static final class Entry {
        private final ReentrantLock fetching = new ReentrantLock(); // held by the one who fetches
        private volatile State state = NONE;
    }

    private record Place(String uri, long index) {}

    private final boolean accept;
    private final Map<String, Entry> held = new LinkedHashMap<>(16, 0.75f, true); // the longest unused first

    private StatusLists(Builder from) {
        accept = from.accept;
    }

    /** Returns lists for {@link Verifier.Builder#statusLists}: a token whose list can't be had is refused (fail closed). */
    public static StatusLists create() {
        return builder().build();
    }

    /** Returns a builder of lists with other settings. */
    public static Builder builder() {
        return new Builder();
    }

    /** Returns how many lists are kept. */
    public int size() {
        synchronized (held) {
            return held.size();
        }
    }

    /** Refuses a token with these verified claims if its list shows it as revoked, or may. */
    void check(Map<String, Object> claims, Verifier verifier) {
        Place place = placeOf(claims, verifier.issuer());
        Entry entry = entry(place.uri());
        Instant now = verifier.now();
        if (entry.state.isDue(now)) {
            if (!now.isBefore(entry.state.expires())) { // nothing that serves meanwhile
                entry.fetching.lock();
                refresh(place.uri(), entry, verifier);
            } else if (entry.fetching.tryLock()) {
                refresh(place.uri(), entry, verifier);
            }
        }
        judge(place, entry.state, verifier.now());
    }

    private void judge(Place place, State state, Instant now) {
        if (state.list() != null) {
            int status = state.list().at(place.index());
            if (status < 0) {
                throw rejected("the token's status list does not have its index");
            }
            if (status > 0) {
                throw new VerificationException("REVOKED", "the token was revoked, or suspended");
            }
        }
        if (!accept && !now.isBefore(state.expires())) {
            throw new VerificationException(
                    VerificationException.STATUS_LIST_UNAVAILABLE,
                    "the status list at " + clipped(place.uri()) + " can't be fetched: " + state.cause());
        }
    }

    /** Returns the entry of a list; the list that was not used for the longest time makes room. */
    private Entry entry(String uri) {
        synchronized (held) {
            Entry entry = held.computeIfAbsent(uri, name -> new Entry());
            if (held.size() > MAX_LISTS) {
                held.remove(held.keySet().iterator().next());
            }
            return entry;
        }
    }

    /** Removes lists until all of them have their bytes' limit. */
    private void makeRoom() {
        synchronized (held) {
            long size = 0;
            for (Entry one : held.values()) {
                size += sizeOf(one);
            }
            Iterator<Entry> oldest = held.values().iterator();
            while (held.size() > 1 && size > MAX_SIZE) {
                size -= sizeOf(oldest.next());
                oldest.remove();
            }
        }
    }

    private static int sizeOf(Entry entry) {
        StatusList list = entry.state.list();
        return list == null ? 0 : list.size();
    }

    /** Returns the place that a token names (section 6.2). */
    private static Place placeOf(Map<String, Object> claims, String issuer) {
        Object status = claims.get("status") instanceof Map<?, ?> members ? members.get("status_list") : null;
        if (!(status instanceof Map<?, ?> place)
                || !(place.get("idx") instanceof Long index)
                || index < 0
                || !(place.get("uri") instanceof String uri)) {
            throw rejected("the token has no place in a status list");
        }
        String below = issuer.replaceAll("/$", "") + PATH;
        if (uri.length() > MAX_URI
                || !uri.startsWith(below)
                || !NAME.matcher(uri.substring(below.length())).matches()) {
            throw rejected("the token's status list is not one of its issuer's");
        }
        return new Place(uri, index);
    }

    /** Fetches a list, unless another fetch ended meanwhile, and unlocks. The list that is here serves until it expires. */
    private void refresh(String uri, Entry entry, Verifier verifier) {
        State before = entry.state;
        Instant now = verifier.now();
        try {
            if (before.isDue(now)) {
                entry.state = fetch(uri, before, verifier, now);
                makeRoom();
            }
        } catch (IOException | VerificationException unusable) {
            String cause = unusable instanceof IOException failure
                    ? FetchFailure.causeOf(failure, Fetch.TIMEOUT)
                    : "it is not accepted: " + unusable.getMessage();
            entry.state = before.failed(now, cause);
            LOG.log(System.Logger.Level.WARNING, "the status list at {0} can''t be used: {1}", clipped(uri), cause);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt(); // it is this caller's: the next one fetches
        } finally {
            entry.fetching.unlock();
        }
    }

    private static State fetch(String uri, State before, Verifier verifier, Instant now)
            throws IOException, InterruptedException {
        String etag = now.isBefore(before.expires()) ? before.etag() : "";
        Fetch.Answer answer = Fetch.get(verifier.http(), address(uri), "application/" + TYPE, etag);
        if (answer.status() == 304) {
            return before.unchanged(now);
        }
        Map<String, Object> claims = verifier.statusList(new String(answer.body(), StandardCharsets.ISO_8859_1));
        return taken(claims, uri, answer.headers().firstValue("ETag").orElse(""), before, now);
    }

    private static URI address(String uri) throws FetchFailure {
        try {
            URI address = new URI(uri);
            if (Fetch.isSafe(address)) {
                return address;
            }
        } catch (URISyntaxException none) {
            throw new FetchFailure("its address is no URL");
        }
        throw new FetchFailure("it would be fetched without TLS: use https (http is for loopback only)");
    }

    /** Returns the list with these claims (section 8.3), or the one before if that is newer. */
    private static State taken(Map<String, Object> claims, String uri, String etag, State before, Instant now)
            throws FetchFailure {
        if (!uri.equals(claims.get("sub"))) {
            throw new FetchFailure("it is another list");
        }
        Instant issued = Verifier.time(claims, "iat");
        Instant expires = Verifier.time(claims, "exp");
        if (!now.isBefore(expires)) {
            throw new FetchFailure("it has expired: compare the clocks");
        }
        if (!(claims.getOrDefault("ttl", DEFAULT_TTL) instanceof Number seconds) || !(seconds.doubleValue() > 0)) {
            throw new FetchFailure("its ttl is not a positive number");
        }
        StatusList list = StatusList.read(claims.get("status_list"));
        Duration ttl = Duration.ofMillis((long) (Math.min(MAX_TTL, Math.max(MIN_TTL, seconds.doubleValue())) * 1000));
        if (issued.isBefore(before.issued())) { // of a replica that is behind
            Duration wait = ttl.compareTo(COOLDOWN) < 0 ? ttl : COOLDOWN;
            return new State(
                    before.list(), before.etag(), before.issued(), before.expires(), before.ttl(), now.plus(wait), now, before.cause());
        }
        Instant fresh = now.plus(ttl).isBefore(expires) ? now.plus(ttl) : expires;
        return new State(list, etag, issued, expires, ttl, fresh, now, before.cause());
    }

    private static String clipped(String uri) {
        return uri.substring(0, Math.min(uri.length(), 200));
    }

    private static VerificationException rejected(String message) {
        return new VerificationException("CLAIM_REJECTED", message);
    }

    /** Builds status lists. */
    public static final class Builder {
        private boolean accept;

        private Builder() {}

        /** Fails open: a token whose list can't be had is accepted, unless the last list shows it as revoked. */
        public Builder acceptWhenUnavailable() {
            accept = true;
            return this;
        }

        /** Returns the lists. */
        public StatusLists build() {
            return new StatusLists(this);
        }
    }
}
