# Two throw-away stages and the image: Node, compiled code, production dependencies, the SQL, and a user with no rights.

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The compiler is all that is needed here; the embedded database and the tools' binaries come by install scripts.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
# Not `npm run build`: npm would look for the `node` of devDependencies, whose install script has not run.
RUN node node_modules/typescript/bin/tsc -p tsconfig.build.json

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

# Node alone: the image of the stages above brings npm, yarn and headers besides, which nothing here runs.
FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/node /usr/local/bin/node
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY assets ./assets
COPY bin ./bin
COPY sql ./sql
# Your configuration, when it stands beside this file; the pattern may match nothing.
COPY package.json LICENSE tidemark.config.* ./
# Number instead of name, so that an orchestrator can see that it is not root.
USER 1000
EXPOSE 8080
# Exec form, and no entry script in front, as the images of Node have one: the signal to stop must reach this process itself.
# On a large machine V8 would take up to 128 MB for young objects; 16 are as fast.
CMD ["node", "--max-semi-space-size=8", "bin/tidemark.js", "start"]
