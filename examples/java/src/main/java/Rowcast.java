import com.google.api.gax.core.NoCredentialsProvider;
import com.google.api.gax.grpc.GrpcTransportChannel;
import com.google.api.gax.rpc.ApiException;
import com.google.api.gax.rpc.FixedHeaderProvider;
import com.google.api.gax.rpc.FixedTransportChannelProvider;
import com.google.api.gax.rpc.NotFoundException;
import com.google.api.gax.rpc.TransportChannelProvider;
import com.google.cloud.aiplatform.v1.BatchPredictionJob;
import com.google.cloud.aiplatform.v1.GcsDestination;
import com.google.cloud.aiplatform.v1.GcsSource;
import com.google.cloud.aiplatform.v1.JobServiceClient;
import com.google.cloud.aiplatform.v1.JobServiceSettings;
import com.google.cloud.aiplatform.v1.JobState;
import com.google.cloud.aiplatform.v1.LocationName;
import com.google.cloud.aiplatform.v1.Model;
import com.google.cloud.aiplatform.v1.ModelServiceClient;
import com.google.cloud.aiplatform.v1.ModelServiceSettings;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import java.io.File;

/**
 * Scores a file with the newest model of a rowcast server, by its gRPC door.
 *
 * <p>Arguments: HOST:PORT of the door, the token, the input's URI, the destination's URI, and the
 * file of the authority that the server's certificate is from (HOME/tls/ca.pem); without it the
 * door is spoken to in plaintext.
 */
public final class Rowcast {

  public static void main(String[] arguments) throws Exception {
    String token = arguments[1];
    ChannelCredentials trust =
        arguments.length > 4
            ? TlsChannelCredentials.newBuilder().trustManager(new File(arguments[4])).build()
            : InsecureChannelCredentials.create();
    ManagedChannel channel = Grpc.newChannelBuilder(arguments[0], trust).build();
    TransportChannelProvider provider =
        FixedTransportChannelProvider.create(GrpcTransportChannel.create(channel));
    FixedHeaderProvider shown = FixedHeaderProvider.create("authorization", "Bearer " + token);

    JobServiceSettings.Builder forJobs = JobServiceSettings.newBuilder();
    forJobs.setTransportChannelProvider(provider);
    forJobs.setCredentialsProvider(NoCredentialsProvider.create()).setHeaderProvider(shown);
    ModelServiceSettings.Builder forModels = ModelServiceSettings.newBuilder();
    forModels.setTransportChannelProvider(provider);
    forModels.setCredentialsProvider(NoCredentialsProvider.create()).setHeaderProvider(shown);

    try (JobServiceClient jobs = JobServiceClient.create(forJobs.build());
        ModelServiceClient models = ModelServiceClient.create(forModels.build())) {
      LocationName parent = LocationName.of("local", "us-central1");
      Model model = models.listModels(parent).iterateAll().iterator().next();
      BatchPredictionJob job = jobs.createBatchPredictionJob(parent, job(model, arguments));
      System.out.println(job.getName() + " " + job.getState());
      while (job.getState().getNumber() < JobState.JOB_STATE_SUCCEEDED_VALUE) {
        Thread.sleep(500);
        job = jobs.getBatchPredictionJob(job.getName());
      }
      System.out.println(job.getState() + " " + job.getCompletionStats().getSuccessfulCount());
      System.out.println(job.getOutputInfo().getGcsOutputDirectory());
      jobs.deleteBatchPredictionJobAsync(job.getName()).get();
      try {
        jobs.getBatchPredictionJob(job.getName());
      } catch (NotFoundException gone) {
        System.out.println("deleted");
      }
    } catch (ApiException refused) {
      System.err.println(refused.getStatusCode().getCode() + ": " + refused.getMessage());
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static BatchPredictionJob job(Model model, String[] arguments) {
    return BatchPredictionJob.newBuilder()
        .setDisplayName("from-java")
        .setModel(model.getName())
        .setInputConfig(
            BatchPredictionJob.InputConfig.newBuilder()
                .setInstancesFormat("csv")
                .setGcsSource(GcsSource.newBuilder().addUris(arguments[2])))
        .setOutputConfig(
            BatchPredictionJob.OutputConfig.newBuilder()
                .setPredictionsFormat("csv")
                .setGcsDestination(GcsDestination.newBuilder().setOutputUriPrefix(arguments[3])))
        .build();
  }
}
