// The clients of @google-cloud/aiplatform, over REST and gRPC.

'use strict';
const assert = require('node:assert');
const {v1} = require('@google-cloud/aiplatform');
const {OAuth2Client} = require('google-auth-library');

const server = JSON.parse(process.argv[2]);
const how = process.argv[3];
const parent = `projects/${server.project}/locations/${server.location}`;
const name = `node-${Date.now()}`;
const rest = new URL(server.url);
const [grpcHost, grpcPort] = server.grpc.split(':');

const authClient = new OAuth2Client();
authClient.setCredentials({access_token: server.token});
const plaintext = how === 'grpc' && !server.authority;
const options = {projectId: server.project};
if (how === 'rest') {
  Object.assign(options, {
    apiEndpoint: rest.hostname, port: Number(rest.port), authClient,
    fallback: true, protocol: rest.protocol.replace(':', ''),
  });
} else {
  Object.assign(options, {apiEndpoint: grpcHost, port: Number(grpcPort)});
  if (plaintext) options.sslCreds = require('@grpc/grpc-js').credentials.createInsecure();
  else options.authClient = authClient;
}
// Without TLS, the library sends no credentials of its own accord.
const call = plaintext ? {otherArgs: {headers: {authorization: `Bearer ${server.token}`}}} : {};

const datasets = new v1.DatasetServiceClient(options);
const pipelines = new v1.PipelineServiceClient(options);
const models = new v1.ModelServiceClient(options);
const jobs = new v1.JobServiceClient(options);

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const struct = fields => ({structValue: {fields}});
const text = stringValue => ({stringValue});
const number = numberValue => ({numberValue});

async function step(title, work) {
  try {
    await work();
    console.log(JSON.stringify({step: title, outcome: 'passed', detail: ''}));
  } catch (error) {
    console.error(error);
    console.log(JSON.stringify({step: title, outcome: 'failed', detail: String(error).slice(0, 500)}));
  }
}

async function until(get, ended) {
  for (;;) {
    const found = await get();
    if (ended.some(state => String(found.state).endsWith(state))) return found;
    await sleep(300);
  }
}

async function main() {
  let dataset, pipeline, model, job, stopped;
  await step('dataset', async () => {
    const uri = {listValue: {values: [text(server.data)]}};
    const [operation] = await datasets.createDataset({parent, dataset: {
      displayName: name,
      metadataSchemaUri: 'gs://google-cloud-aiplatform/schema/dataset/metadata/tabular_1.0.0.yaml',
      metadata: struct({inputConfig: struct({gcsSource: struct({uri})})}),
    }}, call);
    [dataset] = await operation.promise();
    const [found] = await datasets.getDataset({name: dataset.name}, call);
    assert.strictEqual(found.displayName, name);
  });
  await step('train', async () => {
    [pipeline] = await pipelines.createTrainingPipeline({parent, trainingPipeline: {
      displayName: name,
      inputDataConfig: {datasetId: dataset.name.split('/').pop()},
      trainingTaskDefinition:
        'gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_tabular_1.0.0.yaml',
      trainingTaskInputs: struct({
        targetColumn: text('churn'), predictionType: text('classification'),
        trainBudgetMilliNodeHours: number(1000),
      }),
      modelToUpload: {displayName: name},
    }}, call);
    pipeline = await until(
      async () => (await pipelines.getTrainingPipeline({name: pipeline.name}, call))[0],
      ['SUCCEEDED', 'FAILED', 'CANCELLED', '4', '5', '7']);
    assert.match(String(pipeline.state), /SUCCEEDED|4/);
  });
  await step('model', async () => {
    [model] = await models.getModel({name: pipeline.modelToUpload.name}, call);
    const [found] = await models.listModels({parent, filter: `display_name="${name}"`}, call);
    assert.deepStrictEqual(found.map(one => one.name), [model.name]);
    const [versions] = await models.listModelVersions({name: model.name}, call);
    assert.deepStrictEqual(versions.map(one => one.versionId), ['1']);
  });
  await step('evaluations', async () => {
    const [found] = await models.listModelEvaluations({parent: model.name}, call);
    assert.ok(found[0].metrics.structValue.fields.auRoc.numberValue > 0.7);
  });
  await step('upload', async () => {
    const [operation] = await models.uploadModel(
      {parent, model: {displayName: `${name}-uploaded`, artifactUri: server.model}}, call);
    const [answer] = await operation.promise();
    const [found] = await models.getModel({name: answer.model}, call);
    assert.strictEqual(found.displayName, `${name}-uploaded`);
  });
  const body = displayName => ({
    displayName, model: model.name,
    inputConfig: {instancesFormat: 'csv', gcsSource: {uris: [server.data]}},
    outputConfig: {predictionsFormat: 'csv', gcsDestination: {outputUriPrefix: server.out}},
  });
  const ended = ['SUCCEEDED', 'FAILED', 'CANCELLED'];
  const look = async found => (await jobs.getBatchPredictionJob({name: found.name}, call))[0];
  await step('predict', async () => {
    [job] = await jobs.createBatchPredictionJob({parent, batchPredictionJob: body(name)}, call);
    job = await until(() => look(job), ended);
    assert.match(String(job.state), /SUCCEEDED/);
    assert.strictEqual(String(job.completionStats.successfulCount), '1200');
  });
  await step('list', async () => {
    const [found] = await jobs.listBatchPredictionJobs(
      {parent, filter: `display_name="${name}"`, pageSize: 1}, call);
    assert.deepStrictEqual(found.map(one => one.name), [job.name]);
  });
  await step('cancel', async () => {
    [stopped] = await jobs.createBatchPredictionJob(
      {parent, batchPredictionJob: body(`${name}-stopped`)}, call);
    await jobs.cancelBatchPredictionJob({name: stopped.name}, call);
    await until(() => look(stopped), ended);
  });
  await step('errors', async () => {
    await assert.rejects(
      jobs.createBatchPredictionJob({parent, batchPredictionJob: {displayName: ''}}, call),
      error => [3, 400].includes(error.code) && /display_name/.test(error.message));
    await assert.rejects(
      models.getModel({name: `${parent}/models/none`}, call),
      error => [5, 404].includes(error.code));
  });
  await step('delete', async () => {
    for (const one of [job, stopped]) {
      const [operation] = await jobs.deleteBatchPredictionJob({name: one.name}, call);
      await operation.promise();
    }
    const [ofModel] = await models.deleteModel({name: model.name}, call);
    await ofModel.promise();
    const [ofPipeline] = await pipelines.deleteTrainingPipeline({name: pipeline.name}, call);
    await ofPipeline.promise();
    const [ofDataset] = await datasets.deleteDataset({name: dataset.name}, call);
    await ofDataset.promise();
    await assert.rejects(look(job), error => [5, 404].includes(error.code));
  });
}

main();
