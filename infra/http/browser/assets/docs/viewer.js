"use strict";

SwaggerUIBundle({
  dom_id: "#viewer",
  url: "/openapi.json",
  validatorUrl: null, // the badge would send the description to somebody else's server
  queryConfigEnabled: false, // a link must not be able to load another description
  tryItOutEnabled: true,
  persistAuthorization: false,
  deepLinking: true,
  docExpansion: "none",
  filter: true,
});
