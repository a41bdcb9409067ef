package dev.tokenmint.client;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The filter in Tomcat, over real HTTP: the table of cases of all languages (RFC 6750 section 3). */
class TokenFilterTest {
    static List<Map<String, Object>> cases() throws Exception {
        return BearerCases.all();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void answersAsRfc6750Section3Says(Map<String, Object> row, @TempDir Path directory) throws Exception {
        try (var cases = new BearerCases()) {
            Tomcat tomcat = tomcat(new TokenFilter(cases.verifier(row), BearerCases.required()), directory);
            try {
                cases.play(row, URI.create("http://127.0.0.1:" + tomcat.getConnector().getLocalPort() + "/"));
            } finally {
                tomcat.stop();
                tomcat.destroy();
            }
        }
    }

    private static Tomcat tomcat(TokenFilter tokens, Path directory) throws Exception {
        var filter = new FilterDef();
        filter.setFilterName("tokens");
        filter.setFilter(tokens);
        var everywhere = new FilterMap();
        everywhere.setFilterName("tokens");
        everywhere.addURLPattern("/*");
        var tomcat = new Tomcat();
        tomcat.setBaseDir(directory.toString());
        tomcat.setPort(0);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        var context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "whoami", new Whoami()).addMapping("/");
        context.addFilterDef(filter);
        context.addFilterMap(everywhere);
        tomcat.start();
        return tomcat;
    }

    private static final class Whoami extends HttpServlet {
        private static final long serialVersionUID = 1L;

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.getWriter().print(TokenFilter.token(request).subject());
        }
    }
}
