//! The table of routes: every method and path of the service, once. The service is built from it, wrong methods are
//! answered from it, and a test compares it with the OpenAPI description.

use std::collections::BTreeMap;

use actix_web::guard::{self, GuardContext};
use actix_web::http::Method;
use actix_web::{HttpResponse, Route, web};

use crate::failure::{Code, Failure};
use crate::handlers::{bulk, collections, documents, encode, search, service};
use crate::page;

/// One method of one path.
pub struct RouteSpec {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for what varies.
    pub path: &'static str,
    /// Makes the route without its method guard.
    handler: fn() -> Route,
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)+) => {
        vec![$(RouteSpec { method: Method::$method, path: $path, handler: || web::route().to($handler) },)+]
    };
}

/// Every route. Where two paths fit, the earlier one wins.
pub fn table() -> Vec<RouteSpec> {
    routes! {
        GET "/" => page::index;
        GET "/page/tamis.css" => page::style;
        GET "/page/tamis.js" => page::script;
        GET "/page/icon.svg" => page::icon;
        GET "/errors" => page::errors;
        GET "/openapi.json" => service::openapi;
        GET "/healthz" => service::healthz;
        GET "/health" => service::health;
        GET "/livez" => service::livez;
        GET "/readyz" => service::readyz;
        GET "/metrics" => service::metrics;
        GET "/v1/version" => service::version;
        GET "/v1/stats" => service::stats;
        POST "/v1/encode" => encode::encode;
        POST "/embed_sparse" => encode::embed_sparse;
        GET "/v1/collections" => collections::list;
        POST "/v1/collections" => collections::create;
        GET "/v1/collections/{collection}" => collections::get;
        HEAD "/v1/collections/{collection}" => collections::head;
        PUT "/v1/collections/{collection}" => collections::put;
        DELETE "/v1/collections/{collection}" => collections::delete;
        POST "/v1/collections/{collection}/documents" => documents::add;
        POST "/v1/collections/{collection}/documents/bulk" => bulk::bulk;
        POST "/v1/collections/{collection}/documents/delete" => documents::delete_many;
        GET "/v1/collections/{collection}/documents/{id}" => documents::get;
        DELETE "/v1/collections/{collection}/documents/{id}" => documents::delete;
        GET "/v1/collections/{collection}/search" => search::search_query;
        POST "/v1/collections/{collection}/search" => search::search;
        POST "/v1/collections/{collection}/explain" => search::explain;
        POST "/v1/collections/{collection}/commit" => collections::commit;
    }
}

/// Puts every route into the application. `HEAD` is answered wherever `GET` is.
pub fn configure(config: &mut web::ServiceConfig) {
    let mut paths: Vec<(&'static str, Vec<RouteSpec>)> = Vec::new();
    for spec in table() {
        match paths.iter_mut().find(|(path, _)| *path == spec.path) {
            Some((_, specs)) => specs.push(spec),
            None => paths.push((spec.path, vec![spec])),
        }
    }
    let shadowed = shadowed_methods(&paths);
    for (path, specs) in paths {
        let mut resource = web::resource(path);
        if let Some(methods) = shadowed.get(path).cloned() {
            resource = resource.guard(guard::fn_guard(move |context: &GuardContext<'_>| {
                !methods.contains(&context.head().method)
            }));
        }
        let mut allowed: Vec<Method> = specs.iter().map(|spec| spec.method.clone()).collect();
        let head_of_get = allowed.contains(&Method::GET) && !allowed.contains(&Method::HEAD);
        for spec in &specs {
            resource = resource.route((spec.handler)().method(spec.method.clone()));
            if head_of_get && spec.method == Method::GET {
                resource = resource.route((spec.handler)().method(Method::HEAD));
            }
        }
        if head_of_get {
            allowed.push(Method::HEAD);
        }
        let allow = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        config.service(resource.default_service(web::to(move || method_not_allowed(path, allow.clone()))));
    }
}

/// Methods that a fixed path must pass on to a path with `{id}` in its place: a document may be called `bulk`.
fn shadowed_methods(paths: &[(&'static str, Vec<RouteSpec>)]) -> BTreeMap<&'static str, Vec<Method>> {
    let mut shadowed = BTreeMap::new();
    for (path, specs) in paths {
        let Some((parent, last)) = path.rsplit_once('/') else {
            continue;
        };
        let general = format!("{parent}/{{id}}");
        let Some((_, general)) = paths.iter().find(|(other, _)| *other == general) else {
            continue;
        };
        if last == "{id}" {
            continue;
        }
        let mut methods: Vec<Method> = general.iter().map(|spec| spec.method.clone()).collect();
        methods.push(Method::HEAD);
        methods.retain(|method| specs.iter().all(|spec| spec.method != *method));
        shadowed.insert(*path, methods);
    }
    shadowed
}

async fn method_not_allowed(path: &'static str, allow: String) -> Result<HttpResponse, Failure> {
    Err(Failure::new(Code::MethodNotAllowed, format!("{path} answers to {allow}.")).allow(allow))
}

/// The answer to a path that is not in the table.
pub async fn not_found(request: actix_web::HttpRequest) -> Result<HttpResponse, Failure> {
    Err(Failure::new(
        Code::RouteNotFound,
        format!(
            "There is nothing at {}; /openapi.json lists every route.",
            request.path()
        ),
    ))
}
