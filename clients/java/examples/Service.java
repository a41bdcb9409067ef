import dev.tokenmint.client.TokenFilter;
import dev.tokenmint.client.Verifier;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** A service that only tokens of tokenmint open, in Tomcat. */
public final class Service extends HttpServlet {
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        response.getWriter().print("hello " + TokenFilter.token(request).subject());
    }

    public static void main(String[] arguments) throws Exception {
        var verifier = Verifier.builder(System.getenv("TOKENMINT_ISSUER"), System.getenv("TOKENMINT_AUDIENCE")).build();
        var filter = new FilterDef();
        filter.setFilterName("tokens");
        filter.setFilter(new TokenFilter(verifier, "read"));
        var everywhere = new FilterMap();
        everywhere.setFilterName("tokens");
        everywhere.addURLPattern("/*");
        var tomcat = new Tomcat();
        tomcat.setPort(0);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        var context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "hello", new Service()).addMapping("/");
        context.addFilterDef(filter);
        context.addFilterMap(everywhere);
        tomcat.start();
        System.out.println("listening on http://127.0.0.1:" + tomcat.getConnector().getLocalPort());
        tomcat.getServer().await();
    }
}
